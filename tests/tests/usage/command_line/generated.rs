//! What is made of the definitions of the command line: completion scripts and manual pages.

use super::*;

#[test]
fn every_shell_gets_a_completion_script_that_it_accepts() {
    let scene = Scene::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let finished = scene.run_with(&["completions", shell], b"");
        assert_eq!(finished.code, Some(0));
        assert!(text(&finished.stdout).contains("propagate-exit-code"), "{shell}");
        if shell == "bash" {
            let script = scene.file("completions", &finished.stdout);
            assert!(
                Command::new("bash")
                    .arg("-n")
                    .arg(script)
                    .status()
                    .unwrap()
                    .success()
            );
        }
    }
}

/// What bash offers for the last of `words`, once it has sourced our script.
fn completed_by_bash(script: &str, words: &[&str]) -> Vec<String> {
    let output = Command::new("bash")
        .args(["--norc", "--noprofile", "-c"])
        .arg(
            r#"source "$1"; shift
            function=$(complete -p executor-runtime | sed -n 's/.* -F \([^ ]*\) .*/\1/p')
            COMP_WORDS=("$@") COMP_CWORD=$(($# - 1)) COMP_LINE="$*" COMP_POINT=${#COMP_LINE}
            "$function" "$1" "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
            printf '%s\n' "${COMPREPLY[@]}""#,
        )
        .args(["bash", script, "executor-runtime"])
        .args(words)
        .output()
        .unwrap();
    assert_eq!(text(&output.stderr), "", "{words:?}");
    text(&output.stdout).lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes_commands_and_options() {
    let scene = Scene::new();
    let finished = scene.run_with(&["completions", "bash"], b"");
    let script = scene.file("completions", &finished.stdout);
    let script = script.to_str().unwrap();
    for (words, expected) in [
        (&["run", "--ki"][..], &["--kind"][..]),
        (&["ki"], &["kinds"]),
        (
            &["run", "--p"],
            &["--propagate-exit-code", "--print-invocation", "--plugins-dir"],
        ),
        (&["plugin", "insp"], &["inspect"]),
        (&["plugin", "install", "--re"], &["--replace"]),
        (&["schema", "--log-format", "j"], &["json"]),
        (&["man", "--d"], &["--dir"]),
    ] {
        let mut offered = completed_by_bash(script, words);
        let mut expected = expected.to_vec();
        offered.sort();
        expected.sort_unstable();
        assert_eq!(offered, expected, "{words:?}");
    }
}

#[test]
fn every_command_has_a_manual_page() {
    let scene = Scene::new();
    let pages = scene.path("share/man1");
    let finished = scene.run_with(&["man", "--dir", pages.to_str().unwrap()], b"");
    assert_eq!(
        (finished.code, finished.stdout.len()),
        (Some(0), 0),
        "{finished:?}"
    );
    let mut names: Vec<_> = fs::read_dir(&pages)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    let commands = [
        "",
        "-batch",
        "-cancel",
        "-completions",
        "-explain",
        "-kinds",
        "-logs",
        "-man",
        "-plugin",
        "-plugin-build",
        "-plugin-check",
        "-plugin-dev",
        "-plugin-embed",
        "-plugin-inspect",
        "-plugin-install",
        "-plugin-list",
        "-plugin-new",
        "-plugin-remove",
        "-plugin-test",
        "-plugin-wit",
        "-prune",
        "-ps",
        "-run",
        "-schema",
        "-serve",
        "-submit",
        "-validate",
        "-wait",
    ];
    let mut expected = commands.map(|command| format!("executor-runtime{command}.1"));
    expected.sort();
    assert_eq!(names, expected);
    for name in &names {
        let page = fs::read_to_string(pages.join(name)).unwrap();
        for section in ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "\"EXIT STATUS\""] {
            assert!(page.contains(&format!(".SH {section}\n")), "{name}: {section}");
        }
        // One that is printed differs from day to day in nothing.
        let title = name.trim_end_matches(".1").to_uppercase();
        assert!(page.contains(&format!(".TH {title} 1 20")), "{name}: {page}");
    }
    assert_rendered(
        &pages.join("executor-runtime-run.1"),
        &[
            "EXECUTOR-RUNTIME-RUN(1)",
            "User Commands",
            "executor-runtime-run - Run one invocation",
            "executor-runtime run [OPTIONS] [FILE]\n",
            "executor-runtime run [OPTIONS] -- COMMAND...\n",
            "--timeout <DURATION>",
            "OPTIONS FOR COMMAND",
            "EXIT STATUS",
            "124    timed out",
            "ENVIRONMENT\n       EXECUTOR_RUNTIME_CONFIG\n",
            "FILES\n       ~/.config/executor-runtime/executor-runtime.toml\n",
            "SEE ALSO\n       executor-runtime(1)",
        ],
    );
    assert_rendered(
        &pages.join("executor-runtime.1"),
        &["SUBCOMMANDS", "executor-runtime-plugin(1)"],
    );

    // Without a directory it is the main page, for a pipe to `man -l -`.
    let finished = scene.run_with(&["man"], b"");
    let page = scene.file("main.1", &finished.stdout);
    assert_rendered(&page, &["SUBCOMMANDS", "executor-runtime-plugin(1)"]);

    let file = scene.file("file", "");
    let finished = scene.run_with(&["man", "--dir", file.to_str().unwrap()], b"");
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("can't be written to '"), "{finished:?}");
}

/// `man` has to show the page without a warning, with each of these texts in it.
#[track_caller]
fn assert_rendered(page: &Path, texts: &[&str]) {
    let output = Command::new("man")
        .args(["--warnings", "-E", "UTF-8", "-l"])
        .arg(page)
        .envs([("MANWIDTH", "120"), ("MANPAGER", "cat"), ("LC_ALL", "C.UTF-8")])
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => return not_tested("how `man` shows the manual pages", error),
    };
    assert!(output.status.success(), "{output:?}");
    assert_eq!(text(&output.stderr), "", "{}", page.display());
    let shown = text(&output.stdout);
    for expected in texts {
        assert!(shown.contains(expected), "{expected}: {shown}");
    }
}
