//! What manual pages tell beyond the arguments: exit statuses, variables, files. `host/OPERATORS.md` and `host/ORCHESTRATORS.md` tell the same.

use super::args::{
    BATCH_EXIT_STATUS_HELP, CLIENT_EXIT_STATUS_HELP, EXIT_STATUS_HELP, SERVE_EXIT_STATUS_HELP,
    SUBMIT_EXIT_STATUS_HELP, WAIT_EXIT_STATUS_HELP,
};

/// The variables that count, and those that a run is given.
pub(super) const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "EXECUTOR_RUNTIME_CONFIG",
        "The configuration file, unless --config names one.",
    ),
    (
        "EXECUTOR_RUNTIME_PLUGINS_DIR",
        "One directory that is searched for plugins after those of --plugins-dir and before the default ones; if it is \
         missing, a warning says so.",
    ),
    (
        "EXECUTOR_RUNTIME_SOCKET",
        "The socket of the host that serves, unless --socket names one.",
    ),
    (
        "XDG_RUNTIME_DIR",
        "Where executor-runtime/api.sock is, the socket of the host that serves.",
    ),
    (
        "XDG_CONFIG_HOME",
        "Where executor-runtime/executor-runtime.toml is looked for; by default ~/.config.",
    ),
    (
        "XDG_DATA_HOME",
        "Where executor-runtime/plugins is, your own plugins directory; by default ~/.local/share.",
    ),
    (
        "XDG_CACHE_HOME",
        "Where executor-runtime is, the cache of compiled components; by default ~/.cache.",
    ),
    (
        "XDG_STATE_HOME",
        "Where executor-runtime is, the journal of a host that serves and those of batches; by default ~/.local/state.",
    ),
    (
        "SSL_CERT_FILE",
        "A file of certificates that plugins trust instead of the system's.",
    ),
    ("SSL_CERT_DIR", "The same, a directory."),
    (
        "NO_COLOR",
        "If it is not empty, no escape sequences are written to a terminal.",
    ),
    (
        "TERM",
        "If it is empty or dumb, none are written either, and progress is printed as separate lines.",
    ),
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "A collector such as http://localhost:4318, which the spans of runs are sent to.",
    ),
    (
        "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT",
        "The same, as the whole URL for spans.",
    ),
    (
        "OTEL_*",
        "How: the headers, protocol and timeout of OTEL_EXPORTER_OTLP, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, \
         OTEL_TRACES_SAMPLER, OTEL_BSP; and whether: OTEL_SDK_DISABLED, OTEL_TRACES_EXPORTER.",
    ),
    (
        "TRACEPARENT",
        "The trace that runs of run and batch are part of that name none. Set for the programs of a run that is part of one.",
    ),
    ("TRACESTATE", "The same, for what else is passed on."),
    (
        "RXP_INVOCATION_ID",
        "Set for a subprocess: the id of its invocation.",
    ),
    (
        "RXP_ARTIFACTS_DIR",
        "Set for a subprocess: files that it leaves in this directory are listed as artifacts.",
    ),
    (
        "RXP_INPUT_PAYLOAD_PATH",
        "Set for a subprocess that has an input payload: the path of that.",
    ),
];

/// The files that are read, and those that are written.
pub(super) const FILES: &[(&str, &str)] = &[
    (
        "~/.config/executor-runtime/executor-runtime.toml",
        "The configuration, unless --config or $EXECUTOR_RUNTIME_CONFIG names another file.",
    ),
    ("~/.local/share/executor-runtime/plugins/", "Your own plugins."),
    (
        "DIRECTORY_OF_THE_EXECUTABLE/../plugins/",
        "The plugins that came with the host.",
    ),
    (
        "DIRECTORY_OF_THE_EXECUTABLE/executor-runtime-engine",
        "What runs plugins that are components, batch and serve.",
    ),
    (
        "~/.cache/executor-runtime/",
        "Compiled components; it may be deleted at any time.",
    ),
    (
        "~/.local/state/executor-runtime/",
        "The journal of a host that serves; in batch/, those of batches.",
    ),
    (
        "WORKING_DIRECTORY/.executor_runtime/INVOCATION_ID/",
        "Where a run's output (stdout.txt, stderr.txt) and artifacts are kept, unless the invocation names an \
         artifact_directory.",
    ),
];

const SUCCESS: (&str, &str) = ("0", "success");
const UNUSABLE: (&str, &str) = (
    "2",
    "the command line, the configuration or the input can't be used; stderr says why",
);
const BROKEN_PIPE: (&str, &str) = (
    "141",
    "the reader of the output has gone, as a shell reports it of a process that SIGPIPE ended",
);

/// The exit statuses of the command whose page is called `name`.
pub(super) fn exit_statuses(name: &str) -> Vec<(&'static str, &'static str)> {
    match name {
        "executor-runtime-run" => of_run().collect(),
        "executor-runtime-batch" => of(BATCH_EXIT_STATUS_HELP).collect(),
        "executor-runtime-serve" => of(SERVE_EXIT_STATUS_HELP).collect(),
        "executor-runtime-submit" => of(SUBMIT_EXIT_STATUS_HELP).collect(),
        "executor-runtime-wait" => of(WAIT_EXIT_STATUS_HELP).collect(),
        "executor-runtime-ps"
        | "executor-runtime-logs"
        | "executor-runtime-cancel"
        | "executor-runtime-prune" => of(CLIENT_EXIT_STATUS_HELP).chain([BROKEN_PIPE]).collect(),
        "executor-runtime" => of_run()
            .chain([(
                "141",
                "in other commands than run, the reader of the output has gone",
            )])
            .collect(),
        "executor-runtime-validate" => {
            vec![
                ("0", "the invocation is valid"),
                ("2", "it is not, or can't be read"),
                BROKEN_PIPE,
            ]
        }
        "executor-runtime-explain" => {
            vec![
                SUCCESS,
                UNUSABLE,
                ("3", "the invocation would be rejected"),
                BROKEN_PIPE,
            ]
        }
        "executor-runtime-plugin-check" => {
            vec![
                ("0", "no check failed"),
                ("1", "a check failed"),
                UNUSABLE,
                BROKEN_PIPE,
            ]
        }
        _ => vec![SUCCESS, UNUSABLE, BROKEN_PIPE],
    }
}

/// Those that the help of `run` tells.
fn of_run() -> impl Iterator<Item = (&'static str, &'static str)> {
    of(EXIT_STATUS_HELP)
}

fn of(help: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    help.lines()
        .filter_map(|line| line.strip_prefix("  ")?.split_once("  "))
        .map(|(status, meaning)| (status, meaning.trim()))
}
