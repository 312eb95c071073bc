use super::*;
use executor_runtime_protocol::RuntimeKind;

fn base() -> PluginDescriptor {
    PluginDescriptor::from_json(
        br#"{"name": "http-async", "version": "0.1.0", "kinds": ["http_async"], "interface": "1.0", "summary": "s",
             "metadata": {"http.url": {"type": "url", "required": true, "help": "Where to"},
                          "http.poll_url_template": {"type": "url", "placeholders": ["run_id"], "help": "h"},
                          "http.body": {"type": "string", "help": "h"},
                          "http.body_format": {"type": "string", "one_of": ["json", "raw"], "default": "json", "help": "h"},
                          "http.header.*": {"type": "string", "help": "h"},
                          "http.extra": {"type": "json", "help": "h"},
                          "http.states": {"type": "list", "help": "h"},
                          "http.seconds": {"type": "duration", "help": "h"}}}"#,
    )
    .unwrap()
}

const HEAD: &str = r#"
    version = "0.1.0"
    summary = "s"
    base = "http_async"
    metadata."my.server" = { type = "url", required = true, help = "h" }
    metadata."my.name" = { type = "string", default = "x", help = "h" }
    metadata."my.number" = { type = "integer", help = "h" }
    metadata."my.ratio" = { type = "number", help = "h" }
    metadata."my.flag" = { type = "boolean", help = "h" }
    metadata."my.items" = { type = "list", help = "h" }
    metadata."my.token" = { type = "string", help = "h" }
    metadata."my.more" = { type = "json", help = "h" }
    [set]
"#;

fn recipe(set: &str) -> Result<Recipe, String> {
    let recipe =
        Recipe::parse("my_kind", &format!("{HEAD}\n{set}")).map_err(|invalid| invalid.to_string())?;
    recipe
        .check_base(&base())
        .map_err(|invalid| invalid.to_string())?;
    Ok(recipe)
}

fn invocation(metadata: &[(&str, &str)]) -> RuntimeInvocation {
    let metadata = metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    RuntimeInvocation {
        invocation_id: "inv-1".to_owned(),
        runtime_name: "r".to_owned(),
        runtime_kind: RuntimeKind::new("my_kind").unwrap(),
        working_directory: "/w".to_owned(),
        command: vec!["echo".to_owned(), "it's".to_owned()],
        environment: [("A".to_owned(), "1\"2".to_owned())].into(),
        timeout_seconds: None,
        input_payload_path: None,
        output_result_path: None,
        artifact_directory: None,
        metadata: metadata.collect(),
    }
}

fn filled(set: &str, metadata: &[(&str, &str)]) -> Result<BTreeMap<String, String>, String> {
    let recipe = recipe(set)?;
    let mut all = vec![("my.server", "http://h:1/base/")];
    all.retain(|(key, _)| !metadata.iter().any(|(given, _)| given == key));
    all.extend(metadata);
    let invocation = invocation(&all);
    let checked = recipe.descriptor().check_metadata(&invocation.metadata).unwrap();
    let made = recipe
        .fill(&base(), &invocation, &checked)
        .map_err(|unfit| unfit.to_string())?;
    assert_eq!(made.runtime_kind.as_str(), "http_async");
    assert_eq!(made.invocation_id, "inv-1");
    Ok(made.metadata)
}

const URL: &str = r#""http.url" = "{{my.server}}/runs""#;

#[test]
fn a_value_stays_in_its_place_in_a_url() {
    let set = r#""http.url" = "{{my.server}}/runs/{{my.name}}/x?q={{my.name}}#f""#;
    for (value, encoded) in [
        ("a-Z_0.~", "a-Z_0.~"),
        ("../x?y#z&a=b", "..%2Fx%3Fy%23z%26a%3Db"),
        ("%2e%2e", "%252e%252e"),
        ("a\r\nb\0", "a%0D%0Ab%00"),
        ("{{my.server}}", "%7B%7Bmy.server%7D%7D"),
        ("{run_id}", "%7Brun_id%7D"),
        ("@evil.example/", "%40evil.example%2F"),
        ("é", "%C3%A9"),
    ] {
        let made = filled(set, &[("my.name", value)]).unwrap();
        assert_eq!(
            made["http.url"],
            format!("http://h:1/base/runs/{encoded}/x?q={encoded}#f")
        );
    }
    let long = "é".repeat(1 << 19);
    assert!(filled(set, &[("my.name", &long)]).unwrap()["http.url"].ends_with("%A9#f"));
    for step in [".", "..", ""] {
        let problem = filled(set, &[("my.name", step)]).unwrap_err();
        assert!(
            problem.starts_with("my.name: it would be a step to another place"),
            "{problem}"
        );
    }
    // Half of a step is one, too.
    let set = r#""http.url" = "http://h/a/.{{my.name}}/b""#;
    assert!(filled(set, &[("my.name", ".")]).is_err());
    let set = r#""http.url" = "http://h/a/%2E{{my.name}}/b""#;
    assert!(filled(set, &[("my.name", ".")]).is_err());
    let set = r#""http.url" = "http://h/?q={{my.name}}""#;
    assert_eq!(
        filled(set, &[("my.name", "..")]).unwrap()["http.url"],
        "http://h/?q=.."
    );
}

#[test]
fn only_a_url_says_which_host_is_reached() {
    for (template, words) in [
        ("http://{{my.name}}/", "does not begin with a whole host"),
        ("http://h{{my.name}}/", "does not begin with a whole host"),
        ("http://h:{{my.number}}/", "does not begin with a whole host"),
        ("{{my.name}}/x", "which is not a key of type url"),
        ("{{my.server|json}}/x", "which is not a key of type url"),
        ("{{my.server}}.evil.example/", "could change its host"),
        ("{{my.server}}{{my.name}}", "could change its host"),
        ("h/{{my.name}}", "does not begin with a whole host"),
    ] {
        let problem = recipe(&format!("\"http.url\" = \"{template}\"")).unwrap_err();
        assert!(problem.contains(words), "{template}: {problem}");
    }
    assert_eq!(filled(URL, &[]).unwrap()["http.url"], "http://h:1/base/runs");
    let problem = filled(URL, &[("my.server", "http://h/?x=")]).unwrap_err();
    assert!(problem.contains("has a query or a fragment"), "{problem}");
    let alone = r#""http.url" = "{{my.server}}""#;
    assert_eq!(
        filled(alone, &[("my.server", "http://h/?x")]).unwrap()["http.url"],
        "http://h/?x"
    );
    let template = r#""http.url" = "http://h/"
                      "http.poll_url_template" = "{{my.server}}/{{my.name}}/{run_id}""#;
    assert_eq!(
        filled(template, &[]).unwrap()["http.poll_url_template"],
        "http://h:1/base/x/{run_id}"
    );
}

#[test]
fn json_takes_values_as_what_they_are() {
    let table = r#"
        "http.url" = "http://h/"
        [set."http.body"]
        command = "{{command}}"
        words = "{{command|shell}}"
        name = "<{{my.name}}>"
        number = "{{my.number}}"
        flag = "{{my.flag}}"
        items = "{{my.items}}"
        token = "{{my.token}}"
        list = ["{{my.token}}", 1]
        env = "{{environment}}"
        a = "{{environment.A}}"
        none = "{{environment.NONE}} x"
        text = "{{environment|json}}"
        deep.er = true
    "#;
    let name = "\"}, {{my.token}} \\ \r\n\0 é";
    let metadata = [
        ("my.name", name),
        ("my.number", "7"),
        ("my.flag", "true"),
        ("my.items", "a, b"),
    ];
    let made = filled(table, &metadata).unwrap();
    let body: Json = serde_json::from_str(&made["http.body"]).unwrap();
    assert_eq!(
        body,
        serde_json::json!({
            "command": ["echo", "it's"], "words": r"echo 'it'\''s'", "name": format!("<{name}>"), "number": 7,
            "flag": true, "items": ["a", "b"], "list": [1], "env": {"A": "1\"2"}, "a": "1\"2",
            "text": r#"{"A":"1\"2"}"#, "deep": {"er": true},
        })
    );
    // The same as text.
    let text = r#"
        "http.url" = "http://h/"
        "http.body" = '{"name": "<{{my.name}}>", "n": ["{{my.number}}"]}'
    "#;
    let body: Json = serde_json::from_str(&filled(text, &metadata).unwrap()["http.body"]).unwrap();
    assert_eq!(body, serde_json::json!({"name": format!("<{name}>"), "n": [7]}));
    let problem = recipe(r#""http.body" = '{"n": {{my.number}}}'"#).unwrap_err();
    assert!(
        problem
            .contains("[set] \"http.body\" has text that would be JSON, but placeholders stand in strings"),
        "{problem}"
    );
    let problem = recipe(r#""http.body" = '{"n": "{{my.number}}",}'"#).unwrap_err();
    assert!(
        problem.contains("[set] \"http.body\" has text that looks like JSON and is not (trailing comma"),
        "{problem}"
    );
    let problem = recipe("\"http.url\" = \"http://h/\"\n\"http.extra\" = '[1] {{my.name}} '").unwrap_err();
    assert!(problem.contains("looks like JSON"), "{problem}");
    let problem = recipe("\"http.url\" = \"http://h/\"\n\"http.extra\" = '\"{{my.name}}\"'").unwrap_err();
    assert!(problem.contains("write a table"), "{problem}");
}

#[test]
fn the_key_and_not_the_first_letter_says_what_is_json() {
    let made = filled(
        r#"
        "http.url" = "http://h/"
        "http.header.x-job" = "[job {{invocation_id}}] by {{my.name}}"
        "http.header.x-name" = " {who: {{my.name}}}"
        "http.header.x-json" = '{"name": "{{my.name}}"}'
        "http.states" = "[{{my.name}},done"
        "http.body_format" = "raw"
        "http.body" = "[{{invocation_id}} {{my.name}}]"
        [set_text]
        "http.header.x-list" = "[{{my.number}}]"
        "http.header.x-quoted" = '["{{my.name}}"]'
        "http.header.x-plain" = "{{my.name}}"
        "#,
        &[("my.name", "a\"b"), ("my.number", "7")],
    )
    .unwrap();
    for (key, value) in [
        ("http.header.x-job", "[job inv-1] by a\"b"),
        ("http.header.x-name", " {who: a\"b}"),
        ("http.header.x-json", r#"{"name":"a\"b"}"#),
        ("http.states", "[a\"b,done"),
        ("http.body", "[inv-1 a\"b]"),
        ("http.header.x-list", "[7]"),
        ("http.header.x-quoted", "[\"a\"b\"]"),
        ("http.header.x-plain", "a\"b"),
    ] {
        assert_eq!(made[key], value, "{key}");
    }
    for (set, words) in [
        (
            r#""http.body" = "[job {{my.name}}]""#,
            "[set] \"http.body\" has text that looks like JSON and is not",
        ),
        (
            r#""http.header.x-list" = "[{{my.name}}]""#,
            "as in {\"n\": \"{{my.number}}\"}, which makes a number of a number; if it is meant as text that is not read as JSON, write it under [set_text]",
        ),
        (
            r#""http.header.x" = '{"a": "{{my.name}}", }'"#,
            "[set] \"http.header.x\" has text that looks like JSON and is not (trailing comma at line 1 column 22); if it is \
             meant as text that is not read as JSON, write it under [set_text]",
        ),
        (
            r#""http.header.x" = '["{{my.name}}"'"#,
            "[set] \"http.header.x\" has text that looks like JSON and is not",
        ),
        (
            "[set_text]\n\"http.extra\" = '{\"n\": \"{{my.name}}\"}'",
            "[set_text] \"http.extra\" is text in which values stand, and the key's type is json: write a table",
        ),
        (
            "[set_text]\n\"http.header.x\" = \"{{my.nam}}\"",
            "[set_text] \"http.header.x\" has {{my.nam}}, which [metadata] does not declare; did you mean {{my.name}}?",
        ),
        (
            "[set_text]\n\"http.url\" = \"http://h/\"",
            "[set_text] \"http.url\" is under [set], too",
        ),
    ] {
        let problem = recipe(&format!("\"http.url\" = \"http://h/\"\n{set}")).unwrap_err();
        assert!(problem.contains(words), "{set}: {problem}");
    }
}

#[test]
fn no_value_becomes_a_part_of_json_that_is_text() {
    let reads_json = "is text in which values stand, and http_async reads it as JSON: write a table, or set \
                      \"http.body_format\" to \"raw\"";
    for (set, words) in [
        // A value could add members: it is read as JSON, whatever table it is in.
        (
            "[set_text]\n\"http.body\" = '{\"n\": {{my.name}}}'",
            format!("[set_text] \"http.body\" {reads_json}"),
        ),
        (
            "\"http.body_format\" = \"form\"\n[set_text]\n\"http.body\" = '{\"n\": \"{{my.name}}\"}'",
            format!("[set_text] \"http.body\" {reads_json}"),
        ),
        (
            r#""http.body" = '"{{my.name}}"'"#,
            format!("[set] \"http.body\" {reads_json}"),
        ),
    ] {
        let problem = recipe(&format!("\"http.url\" = \"http://h/\"\n{set}")).unwrap_err();
        assert!(problem.contains(&words), "{set}: {problem}");
    }
    // So no message recommends that table.
    let problem = recipe(r#""http.body" = '{"n": {{my.number}}}'"#).unwrap_err();
    assert!(!problem.contains("set_text"), "{problem}");
    for (set, body) in [
        (
            "\"http.body_format\" = \"raw\"\n[set_text]\n\"http.body\" = '{\"n\": {{my.name}}}'",
            r#"{"n": a"b}"#,
        ),
        ("[set_text]\n\"http.body\" = \"{{my.name}}\"", "a\"b"),
        ("\"http.body\" = \"{{my.name|json}} \"", r#""a\"b" "#),
    ] {
        let set = format!("\"http.url\" = \"http://h/\"\n{set}");
        let made = filled(&set, &[("my.name", "a\"b")]).unwrap();
        assert_eq!(made["http.body"], body, "{set}");
    }
}

#[test]
fn json_that_the_recipe_writes_out_is_checked() {
    for (set, words) in [
        (
            r#""http.body" = '{"a": 1,}'"#,
            "[set] \"http.body\" has text that is not JSON (trailing comma",
        ),
        (
            "[set_text]\n\"http.body\" = 'x'",
            "[set_text] \"http.body\" has text that is not JSON",
        ),
        (
            "\"http.extra\" = '[1'",
            "[set] \"http.extra\" has text that is not JSON",
        ),
        (
            "\"http.body_format\" = \"form\"\n\"http.body\" = 'a=1'",
            "as which http_async reads it",
        ),
    ] {
        let problem = recipe(&format!("\"http.url\" = \"http://h/\"\n{set}")).unwrap_err();
        assert!(problem.contains(words), "{set}: {problem}");
    }
    for set in [
        r#""http.body" = ' "x" '"#,
        "\"http.body\" = 5",
        "\"http.body_format\" = \"raw\"\n\"http.body\" = '{x'",
        "\"http.body_format\" = \"{{my.name}}\"\n\"http.body\" = '{x'",
        r#""http.header.x" = '{"a": 1,}'"#,
    ] {
        recipe(&format!("\"http.url\" = \"http://h/\"\n{set}")).unwrap();
    }
}

#[test]
fn numbers_that_the_recipe_writes_stay_as_they_are() {
    let set = r#"
        "http.url" = "http://h/"
        "http.body" = '{"a": 12345678901234567890123, "c": [0.10, -1e400], "d": "\u0061", "e": 1, "\u0065": 2, "b": "{{my.name}}"}'
        "http.extra" = '{"a": 1e400}'
    "#;
    let made = filled(set, &[]).unwrap();
    assert_eq!(
        made["http.body"],
        r#"{"a":12345678901234567890123,"b":"x","c":[0.10,-1e400],"d":"a","e":2}"#
    );
    assert_eq!(made["http.extra"], r#"{"a": 1e400}"#);
    let deep = |depth| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        recipe(&format!(
            "{URL}\n\"http.body\" = '{open}\"{{{{my.name}}}}\"{close}'"
        ))
    };
    deep(127).unwrap();
    for depth in [128, 50_000] {
        let problem = deep(depth).unwrap_err();
        assert!(
            problem.contains("has JSON that is more than 127 arrays and objects deep"),
            "{problem}"
        );
    }
}

#[test]
fn the_words_of_a_list_are_those_that_it_has() {
    let set = format!("{URL}\n\"http.header.x\" = \"{{{{my.more|shell}}}}\"");
    let made = filled(&set, &[("my.more", r#"["nice", "-n", 5, 0.10, "a b", true]"#)]).unwrap();
    assert_eq!(made["http.header.x"], "nice -n 5 0.10 'a b' true");
}

#[test]
fn numbers_in_json_stay_as_they_are_written() {
    let more =
        r#"{ "huge": 1e999, "long": 12345678901234567890123, "exact": [0.10, -0.1000000000000000055511] }"#;
    let compact = r#"{"huge":1e999,"long":12345678901234567890123,"exact":[0.10,-0.1000000000000000055511]}"#;
    let set = r#"
        "http.url" = "http://h/"
        "http.extra" = "{{my.more}}"
        [set."http.body"]
        a = "{{my.more}}"
        b = { "..." = "{{my.more}}", long = 1 }
        c = "{{my.more|json}}"
        d = "{{my.ratio}}"
    "#;
    let made = filled(set, &[("my.more", more), ("my.ratio", "0.30")]).unwrap();
    assert_eq!(made["http.extra"], compact);
    let members = r#"{"exact":[0.10,-0.1000000000000000055511],"huge":1e999,"long":1}"#;
    let text = Json::from(compact).to_string().replace("\"{", "\"\\u007b");
    assert_eq!(
        made["http.body"],
        format!(r#"{{"a":{compact},"b":{members},"c":{text},"d":0.30}}"#)
    );
}

#[test]
fn an_object_takes_in_the_members_of_another() {
    let set = r#"
        "http.url" = "http://h/"
        [set."http.body"]
        "..." = "{{my.more}}"
        stream = true
        name = "{{my.token}}"
        job.environment = { "..." = "{{environment}}", ID = "{{invocation_id}}", A = "{{my.token}}" }
        steps = [{ "..." = "{{my.more}}", n = 1 }]
    "#;
    let body = |metadata: &[(&str, &str)]| -> Result<Json, String> {
        Ok(serde_json::from_str(&filled(set, metadata)?["http.body"]).unwrap())
    };
    // What the recipe has itself is not replaced, except where it has no value.
    let more = r#"{"stream": false, "name": "{{my.token}}", "temperature": 0.5, "...": "x"}"#;
    assert_eq!(
        body(&[("my.more", more)]).unwrap(),
        serde_json::json!({
            "stream": true, "name": "{{my.token}}", "temperature": 0.5, "...": "x",
            "job": {"environment": {"A": "1\"2", "ID": "inv-1"}},
            "steps": [{"stream": false, "name": "{{my.token}}", "temperature": 0.5, "...": "x", "n": 1}],
        })
    );
    assert_eq!(
        body(&[("my.token", "t")]).unwrap(),
        serde_json::json!({
            "stream": true, "name": "t", "job": {"environment": {"A": "t", "ID": "inv-1"}}, "steps": [{"n": 1}],
        })
    );
    for other in ["[1]", "7", "null", "\"x\""] {
        let problem = body(&[("my.more", other)]).unwrap_err();
        assert!(problem.contains("my.more: it is no JSON object"), "{problem}");
    }
    for (all, words) in [
        (
            "{{my.name}}",
            "{{my.name}}\", which is no object: there can be {{environment}}",
        ),
        ("{{command}}", "which is no object"),
        ("{{environment|json}}", "which is no object"),
        ("{{environment.A}}", "which is no object"),
        ("{{my.mroe}}", "did you mean {{my.more}}?"),
        ("x{{my.more}}", "has '...' that is not one placeholder"),
        ("", "has '...' that is not one placeholder"),
    ] {
        let set = format!("\"http.url\" = \"http://h/\"\nhttp.body.\"...\" = \"{all}\"");
        let set = set.replace("http.body.", "\"http.body\".");
        let problem = recipe(&set).unwrap_err();
        assert!(problem.contains(words), "{all}: {problem}");
    }
}

#[test]
fn text_has_no_line_breaks_and_a_list_no_more_items() {
    let set = format!("{URL}\n\"http.header.authorization\" = \"Bearer {{{{my.token}}}}\"");
    let made = filled(&set, &[("my.token", "s3cret")]).unwrap();
    assert_eq!(made["http.header.authorization"], "Bearer s3cret");
    assert_eq!(filled(&set, &[]).unwrap().get("http.header.authorization"), None);
    for token in ["a\r\nX: y", "a\nb", "\0", "\x7f"] {
        let problem = filled(&set, &[("my.token", token)]).unwrap_err();
        assert!(
            problem.contains("has a line break or another control character"),
            "{problem}"
        );
    }
    let set = format!("{URL}\n\"http.states\" = \"done,{{{{my.name}}}}\"");
    assert_eq!(filled(&set, &[]).unwrap()["http.states"], "done,x");
    let problem = filled(&set, &[("my.name", "a,b")]).unwrap_err();
    assert!(problem.contains("my.name: it has a comma"), "{problem}");
    let set = format!("{URL}\n\"http.states\" = \"{{{{my.items}}}}\"");
    assert_eq!(
        filled(&set, &[("my.items", "a,b")]).unwrap()["http.states"],
        "a,b"
    );
}

#[test]
fn the_callers_own_keys_go_on_and_the_bases_are_the_recipes() {
    let made = filled(
        URL,
        &[("mine", "1"), ("plugin.grace_seconds", "1"), ("my.token", "t")],
    )
    .unwrap();
    let keys: Vec<_> = made.keys().map(String::as_str).collect();
    assert_eq!(keys, ["http.url", "mine", "plugin.grace_seconds"]);
    let problem = filled(URL, &[("http.header.x", "1")]).unwrap_err();
    assert!(
        problem.starts_with(
            "http.header.x: found a key of http_async, the base, which only the recipe my-kind itself may set; its own keys"
        ),
        "{problem}"
    );
}

#[test]
fn what_the_base_fills_in_is_no_part_of_a_value() {
    let made = filled(
        &format!("{URL}\n\"http.body\" = '{{\"id\": \"{{run_id}}\", \"n\": \"{{{{my.name}}}}\", \"t\": \"a {{{{my.token}}}}\"}}'"),
        &[("my.name", "{run_id}"), ("my.token", "{run_id}\"")],
    )
    .unwrap();
    let body = made["http.body"].replace("{run_id}", "r1");
    let body: Json = serde_json::from_str(&body).unwrap();
    assert_eq!(
        body,
        serde_json::json!({"id": "r1", "n": "{run_id}", "t": "a {run_id}\""})
    );
}

#[test]
fn a_value_alone_is_json_for_a_key_of_that_type() {
    let made = filled(
        &format!("{URL}\n\"http.extra\" = \"{{{{my.name}}}}\""),
        &[("my.name", r#"{"admin": true}"#)],
    )
    .unwrap();
    assert_eq!(
        serde_json::from_str::<Json>(&made["http.extra"]).unwrap(),
        r#"{"admin": true}"#
    );
}

#[test]
fn what_does_not_fit_the_base_is_told() {
    for (set, words) in [
        (
            r#""http.body" = "x""#,
            "does not set http.url, which http_async needs (Where to)",
        ),
        (
            r#""http.ulr" = "x""#,
            "[set] \"http.ulr\" is not a key of http_async; did you mean \"http.url\"?",
        ),
        (r#"http.url = "http://h/""#, "write a key with dots in quotes"),
        (
            r#""http.url" = "http://h/{{my.token}}""#,
            "{{my.token}} may have no value: make it required, or give it a default",
        ),
        (
            r#""http.url" = "http://h/{{my.tokn}}""#,
            "which [metadata] does not declare; did you mean {{my.token}}?",
        ),
        (
            r#""http.url" = "ftp://h/""#,
            "[set] \"http.url\" is the scheme \"ftp\"",
        ),
        (
            "\"http.url\" = \"http://h/\"\n\"http.seconds\" = true",
            "[set] \"http.seconds\" is \"true\"",
        ),
        (
            "\"http.url\" = \"http://h/\"\n\"http.seconds\" = [1]",
            "is JSON, and the key's type is duration",
        ),
        (
            "\"http.url\" = \"http://h/\"\nhttp.body.\"{{my.name}}\" = 1",
            "placeholder in the name",
        ),
        (
            "\"http.url\" = \"http://h/\"\nhttp.body.since = 2026-01-01",
            "has the date or time 2026-01-01, which JSON does not have: write it as text, in quotes",
        ),
        (
            "\"http.url\" = \"http://h/\"\n[set.\"http.body\"]\nmost = inf",
            "has inf, which JSON has no number for",
        ),
        (
            "\"http.url\" = \"http://h/\"\n\"http.seconds\" = \"abc\"",
            "[set] \"http.seconds\" is \"abc\", and has to be a number of seconds",
        ),
        (
            "\"http.url\" = \"http://h/\"\n[set.\"http.body\"]\na = 1\n\"http.seconds\" = 5",
            "[set.\"http.body\"] has \"http.seconds\", which is a key of http_async: write it under [set], above [set.\"http.body\"]; or,",
        ),
        (
            "\"http.url\" = \"http://h/\"\n[set_text.\"http.body\"]\na = 1",
            "[set_text] \"http.body\" has a value of the type table: only text stands here, other values under [set]",
        ),
    ] {
        let problem = recipe(set).unwrap_err();
        assert!(problem.contains(words), "{set}: {problem}");
    }
    // Names such as those of OpenTelemetry, where no line could have been added by mistake.
    for body in [
        r#""http.body" = '{"http.url": "{{my.name}}"}'"#,
        r#""http.body" = { "http.url" = "{{my.name}}" }"#,
        r#""http.body" = { attributes = { "http.header.x" = "GET", "http.url" = "x" } }"#,
        r#""http.body"."http.url" = "x""#,
        "[set.\"http.body\"]\nattributes = { \"http.url\" = \"x\" }",
        "[set.\"http.body\".attributes]\n\"http.url\" = \"x\"",
        "[[set.\"http.body\".tasks]]\n\"http.url\" = \"x\"",
    ] {
        recipe(&format!("\"http.url\" = \"http://h/\"\n{body}")).unwrap();
    }
    for (text, words) in [
        (
            "version = \"0.1.0\"\nsumary = \"s\"",
            "line 2: unknown key `sumary`",
        ),
        (
            "version = \"0.1.0\"",
            "missing key `summary`: it stands at the top of the file, before any table",
        ),
        ("[sett]", "line 1: unknown key `sett`, expected one of"),
        (
            "[set]\n\"a.b\" = 1\n[set_text]\n[set]\n\"a.c\" = 1",
            "line 4: [set] is there already: put its keys under the first one",
        ),
        (
            "[set]\n\"a.b\" = 1\n\"a.b\" = 2",
            "line 3: \"a.b\" is there already: a table has each key once",
        ),
        (
            "[metadata.\"a.b\"]\nhelp = \"h\"\n[metadata.\"a.b\"]",
            "line 3: [metadata.\"a.b\"] is there already",
        ),
        ("[sett]", "; did you mean `set`?"),
        ("\"http.url\" = \"x\"", "; a key of the base stands under [set]"),
        (
            "version = \"0.1.0\"\nsummary = \"s\"\nbase = \"b\"\nset = {}\nmetadata.\"a.b\" = { tpe = \"string\", help = \"h\" }",
            "[metadata.\"a.b\"] \"tpe\": found an unknown field, expected",
        ),
        (
            "version = \"0.1.0\"\nsummary = \"s\"\nbase = \"b\"\nset = {}\n[metadata.a.b]\ntype = \"string\"",
            "[metadata] \"a\" has no dot in it: write a key with dots in quotes, as in [metadata.\"build.ref\"]",
        ),
        (
            "version = \"1\"\nsummary = \"s\"\nbase = \"b\"\nset = {}",
            "/version: found \"1\", expected a semantic version",
        ),
        (
            "version = \"0.1.0\"\nsummary = \"s\"\nbase = \"B\"\nset = {}",
            "base 'B' is not a runtime kind; a kind is written like 'b'",
        ),
        (
            "version = \"0.1.0\"\nsummary = \"s\"\nbase = \"http-async\"\nset = {}",
            "base 'http-async' is not a runtime kind; a kind is written like 'http_async'",
        ),
    ] {
        let problem = Recipe::parse("k", text).unwrap_err().to_string();
        assert!(problem.contains(words), "{text}: {problem}");
    }
    // One of the two tables is enough.
    let head = "version = \"0.1.0\"\nsummary = \"s\"\nbase = \"b\"\n";
    for table in ["[set]", "[set_text]\n\"a.b\" = \"x\""] {
        Recipe::parse("k", &format!("{head}{table}")).unwrap();
    }
    let problem = Recipe::parse("k", head).unwrap_err().to_string();
    assert_eq!(problem, "has no [set]: it sets no key of its base");
    assert!(
        Recipe::parse("Bad-name", "")
            .unwrap_err()
            .to_string()
            .contains("is called 'Bad-name'")
    );
}
