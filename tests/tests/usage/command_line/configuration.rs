//! The configuration file as the command line takes it.

use super::*;

#[test]
fn an_empty_variable_names_no_configuration() {
    let scene = Scene::new();
    let mut host = scene.host(&["run", "--", "true"]);
    let finished = scene.run_command(host.env("EXECUTOR_RUNTIME_CONFIG", ""), b"");
    assert_eq!((finished.code, &*finished.stderr), (Some(0), ""), "{finished:?}");
}

#[test]
fn a_configuration_that_others_could_have_written_is_refused() {
    let scene = Scene::new();
    let config = scene.file("c.toml", "");
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    let expect = |reason: &str| {
        let mut by_option = scene.host(&["--config", "c.toml", "run", "--", "true"]);
        let mut by_variable = scene.host(&["run", "--", "true"]);
        by_variable.env("EXECUTOR_RUNTIME_CONFIG", &config);
        for (host, name) in [(&mut by_option, Path::new("c.toml")), (&mut by_variable, &config)] {
            let finished = scene.run_command(host, b"");
            let expected = match reason {
                "" => String::new(),
                reason => format!("configuration '{}' {reason}", name.display()),
            };
            assert_eq!(finished.code, Some(if reason.is_empty() { 0 } else { 2 }));
            assert!(finished.stderr.contains(&expected), "{finished:?}");
            assert_eq!(finished.stderr.is_empty(), reason.is_empty(), "{finished:?}");
        }
    };
    mode(&config, 0o644);
    expect("");
    mode(&config, 0o666);
    let others = |path: &Path, mode: &str| {
        let path = path.display();
        format!(
            "is not trusted, because other users can write to '{path}' (mode {mode}); run: chmod go-w '{path}'\n"
        )
    };
    expect(&others(&config, "0666"));
    mode(&config, 0o620);
    expect(&others(&config, "0620"));
    mode(&config, 0o600);
    expect("");

    // Others could put another file there; but not where each may only rename what is its own.
    let directory = scene.root();
    mode(directory, 0o777);
    expect(&others(directory, "0777"));
    mode(directory, 0o1777);
    expect("");
    mode(directory, 0o700);

    if nix::unistd::geteuid().is_root() {
        std::os::unix::fs::chown(&config, Some(12345), None).unwrap();
        expect(&format!(
            "is not trusted, because '{0}' belongs to user 12345, who is neither root nor the user of this host; run as \
             root: chown 0 '{0}'\n",
            config.display()
        ));
    } else {
        not_tested("a configuration of another user", "only root can make one");
    }
}

#[test]
fn a_configuration_that_is_no_file_is_refused_at_once() {
    let scene = Scene::new();
    nix::unistd::mkfifo(&scene.path("fifo"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(scene.path("directory")).unwrap();
    scene.file("large", vec![b'#'; (1 << 20) + 1]);
    scene.file("latin-1", b"# gr\xfc\xdfe\n");
    for (name, reason) in [
        ("fifo", "is not a regular file"),
        ("directory", "is not a regular file"),
        ("large", "is too long; the limit is 1048576 bytes"),
        ("latin-1", "can't be read: it is not UTF-8 text"),
        ("missing", "can't be read: no such file or directory"),
    ] {
        let finished = scene.run_with(&["--config", name, "run", "--", "true"], b"");
        assert_eq!(finished.code, Some(2), "{finished:?}");
        let expected = format!("configuration '{name}' {reason}");
        assert!(finished.stderr.contains(&expected), "{finished:?}");
    }
}
