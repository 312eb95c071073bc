//! A plugin in C: `plugin.c` and what is beside it, the SDK, and a C compiler for WebAssembly, which is all that it takes.
//!
//! The compiler makes a core module. The SDK has a component around a module that does nothing, which imports all that the
//! SDK may import; the author's module is put in the place of that one.

use super::{
    super::{
        build::Built,
        sections::{imports, imports_of_module, with_module},
    },
    Definition, Project, SdkFolder, SdkForm,
    folder::{Folder, run_builder, run_tests},
};
use anyhow::{Context, Result, anyhow, bail};
use executor_runtime::{plugin::Carrier, protocol::PluginDescriptor};
use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    num::NonZero,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

/// The version of Zig that this was tested with.
const ZIG: &str = "0.17.1";

/// How long Zig may take until it is said what it does.
const SOON: Duration = Duration::from_secs(1);

/// Debian's packages of a C compiler for WebAssembly.
const DEBIAN: &str = "clang lld wasi-libc libclang-rt-dev-wasm32";

/// Where they have the C library.
const DEBIAN_LIBRARY: &str = "/usr/lib/wasm32-wasi/libc.a";

/// Where the SDK is in a plugin's folder.
const SDK: &str = "executor_runtime";

/// The component around a module that does nothing.
const WRAPPER: &str = "component.wasm";

/// What of the SDK is only for tests, and what is only for components.
const FOR_TESTS: &str = "testing.c";
const FOR_COMPONENTS: [&str; 3] = ["component.c", "component_http.c", "libc.c"];

/// A plugin's own Python, which may have Zig.
const VENV: &str = ".venv";

/// What C's own library would import, if the SDK did not answer it.
const WASI_LIBC: &str = "wasi_snapshot_preview1";

pub(super) static C: Definition = Definition {
    name: "C",
    option: "c",
    marker: "plugin.c",
    source: "plugin.c",
    template: &[
        ("plugin.c", include_str!("../template/c/plugin.c.in")),
        ("plugin.json", include_str!("../template/plugin.json.in")),
        (".gitignore", include_str!("../template/c/gitignore.in")),
        ("test_plugin.c", include_str!("../template/c/test_plugin.c.in")),
        ("README.md", include_str!("../template/c/README.md.in")),
    ],
    fills: &[("__ZIG__", ZIG), ("__DEBIAN__", DEBIAN)],
    sdk: SdkForm::Folder(SdkFolder {
        carried: "plugin-sdk/c/",
        sources: "executor_runtime/",
        folder: SDK,
    }),
    check_name: |_| Ok(()),
    setup: |folder| match Compiler::find(Path::new(folder)) {
        Some(_) => None,
        None => Some(format!(
            "python3 -m venv '{folder}/{VENV}' && '{folder}/{VENV}/bin/pip' install ziglang=={ZIG}    # a C compiler; or \
             apt-get install {DEBIAN}"
        )),
    },
    carriers: &[Carrier::Component],
    read: |given, directory| Ok(Box::new(CPlugin(Folder::read(&C, given, directory)?))),
};

/// A C compiler for WebAssembly, with the C library.
#[derive(Debug)]
enum Compiler {
    /// Debian's.
    Clang,
    /// The program of a Python that has Zig as a package.
    ZigOfPython(PathBuf),
    Zig,
}

impl Compiler {
    /// The plugin's own first, then the machine's.
    fn find(folder: &Path) -> Option<Self> {
        let python = folder.join(VENV).join("bin/python");
        if python.with_file_name("python-zig").is_file() {
            return Some(Self::ZigOfPython(python));
        }
        if Path::new(DEBIAN_LIBRARY).is_file() && in_path("clang").is_some() && in_path("wasm-ld").is_some() {
            return Some(Self::Clang);
        }
        if in_path("zig").is_some() {
            return Some(Self::Zig);
        }
        // Installed together with the package.
        let zig = in_path("python-zig")?;
        let python = zig.with_file_name("python3");
        python.is_file().then_some(Self::ZigOfPython(python))
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Clang => "clang",
            Self::Zig | Self::ZigOfPython(_) => "zig cc",
        }
    }

    /// The program with the commands that it has.
    fn program(&self) -> Command {
        match self {
            Self::Clang => Command::new("clang"),
            Self::Zig => Command::new("zig"),
            Self::ZigOfPython(python) => {
                let mut zig = Command::new(python);
                zig.args(["-m", "ziglang"]);
                zig
            }
        }
    }

    fn command(&self) -> Command {
        let mut command = self.program();
        if !matches!(self, Self::Clang) {
            command.arg("cc");
        }
        command
    }

    /// Which compiler this is, with the version that it reports; None if it reports none.
    fn identity(&self) -> Option<String> {
        let version = match self {
            Self::Clang => "--version",
            Self::Zig | Self::ZigOfPython(_) => "version",
        };
        let said = self.program().arg(version).stdin(Stdio::null()).output().ok()?;
        let version = String::from_utf8_lossy(&said.stdout);
        said.status
            .success()
            .then(|| format!("{self:?} {}", version.trim()))
    }

    /// Has Zig compile its C library, if it is not in Zig's cache, from which `zig cc` takes it afterwards. `zig cc` would
    /// compile one file of it at a time on two processors. Where this fails, `zig cc` says why.
    fn compile_library(&self, directory: &Path, made: &Path) {
        if let Self::Clang = self {
            return;
        }
        // Zig compiles one file less at a time than it is told, and waits for each to be read and written.
        let jobs = thread::available_parallelism().map_or(1, NonZero::get) + 2;
        let program = made.with_extension("library.wasm");
        let mut output = OsString::from("-femit-bin=");
        output.push(&program);
        let mut zig = self.program();
        // It is compiled for a program that is made in the same way as the plugin.
        zig.args(["build-exe", "-target", "wasm32-wasi", "-mexec-model=reactor"])
            .args(["-O", "ReleaseSmall", "-fstrip", "-lc", "-x", "c", "/dev/null"])
            .arg(format!("-j{jobs}"))
            .arg(output)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Ok(mut zig) = zig.spawn() {
            let until = Instant::now() + SOON;
            while matches!(zig.try_wait(), Ok(None)) {
                if Instant::now() >= until {
                    say!("waiting for Zig, which compiles its C library the first time");
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
            let _ = zig.wait();
        }
        let _ = fs::remove_file(program);
    }

    /// Compiles for WebAssembly.
    fn for_wasm(&self) -> Command {
        let mut compiler = self.command();
        compiler.args(["--target=wasm32-wasi", "-mexec-model=reactor", "-Os"]);
        // Zig leaves assertions out with `-Os`.
        compiler.arg("-UNDEBUG");
        compiler.args(["-Wl,--strip-all", "-Wl,-z,stack-size=1048576"]);
        if let Self::Clang = self {
            // The stack at the bottom of the memory, so that one that is too deep traps and overwrites nothing. Zig has it
            // there by itself.
            compiler.args(["-Wl,--stack-first", "--sysroot=/usr"]);
        }
        compiler
    }
}

struct CPlugin(Folder);

impl Project for CPlugin {
    fn build(&self, _: Carrier) -> Result<Built> {
        let compiler = self.compiler()?;
        self.0
            .build(compiler.identity(), |made| self.make(&compiler, made))
    }

    /// Compiles each `test*.c` with the plugin for this machine, and runs it.
    fn test(&self) -> Result<()> {
        let mut tests: Vec<_> = c_files(&self.0.directory)?
            .into_iter()
            .filter(|path| is_test(path))
            .collect();
        tests.sort();
        let sdk = c_files(&self.0.directory.join(SDK))?;
        let for_tests = |path: &PathBuf| !FOR_COMPONENTS.iter().any(|name| path.ends_with(name));
        for test in tests {
            let name = test.file_stem().unwrap_or_default();
            let program = self.0.target().join(name);
            fs::create_dir_all(self.0.target())
                .with_context(|| format!("'{}' can't be created", self.0.target().display()))?;
            let mut compiler = self.for_this_machine()?;
            compiler
                .args(self.sources()?)
                .args(sdk.iter().filter(|path| for_tests(path)))
                .arg(&test)
                .args(["-g", "-Wall", "-Wextra", "-I.", "-lm", "-o"])
                .arg(&program)
                .current_dir(&self.0.directory);
            let shown = name.to_string_lossy().into_owned();
            run_tests(&mut compiler, "the C compiler", || {
                anyhow!("the C compiler is gone")
            })?;
            let mut ran = Command::new(&program);
            ran.current_dir(&self.0.directory);
            run_tests(&mut ran, &shown, || anyhow!("'{}' is gone", program.display()))?;
            say!("{shown}.c passed");
        }
        Ok(())
    }

    fn descriptor(&self) -> &PluginDescriptor {
        &self.0.descriptor
    }

    fn target_directory(&self) -> PathBuf {
        self.0.target()
    }

    fn plugin_path(&self, _: Carrier) -> PathBuf {
        self.0.plugin_path()
    }
}

impl CPlugin {
    fn compiler(&self) -> Result<Compiler> {
        let venv = self.0.directory.join(VENV);
        let venv = venv.display();
        Compiler::find(&self.0.directory).with_context(|| {
            format!(
                "no C compiler for WebAssembly is installed, or none in PATH\n  \
                 install Zig for this plugin with: python3 -m venv '{venv}' && '{venv}/bin/pip' install ziglang=={ZIG}\n  \
                 or Debian's compiler with: apt-get install {DEBIAN}"
            )
        })
    }

    /// The machine's own compiler is faster than Zig, which compiles its library first.
    fn for_this_machine(&self) -> Result<Command> {
        match ["cc", "clang", "gcc"].into_iter().find_map(in_path) {
            Some(program) => Ok(Command::new(program)),
            None => Ok(self.compiler()?.command()),
        }
    }

    /// The plugin's own files.
    fn sources(&self) -> Result<Vec<PathBuf>> {
        let mut files = c_files(&self.0.directory)?;
        files.retain(|path| !is_test(path));
        Ok(files)
    }

    /// Makes the component.
    fn make(&self, compiler: &Compiler, made: &Path) -> Result<()> {
        let core = made.with_extension("core.wasm");
        let mut sdk = c_files(&self.0.directory.join(SDK))?;
        sdk.retain(|path| !path.ends_with(FOR_TESTS));
        compiler.compile_library(&self.0.directory, made);
        let mut command = compiler.for_wasm();
        command
            .args(["-Wall", "-Wextra", "-Werror=return-type"])
            .args(["-Werror=implicit-function-declaration", "-I."])
            // What an assertion says names a file of the plugin, and not where it lies on this machine.
            .arg(format!("-ffile-prefix-map={}/=", self.0.directory.display()))
            .arg("-o")
            .arg(&core)
            .args(self.sources()?)
            .args(sdk)
            .current_dir(&self.0.directory);
        run_builder(&mut command, compiler.name(), || {
            anyhow!("the C compiler is gone")
        })?;
        let wrapper = self.0.directory.join(SDK).join(WRAPPER);
        let read =
            |path: &Path| fs::read(path).with_context(|| format!("'{}' can't be read", path.display()));
        let component = wrapped(&read(&wrapper)?, &read(&core)?)?;
        let _ = fs::remove_file(&core);
        fs::write(made, component).with_context(|| format!("'{}' can't be written", made.display()))
    }
}

/// The component of a core module.
fn wrapped(wrapper: &[u8], core: &[u8]) -> Result<Vec<u8>> {
    let damaged = || anyhow!("the folder {SDK} is damaged: its {WRAPPER} is no component");
    let offered = imports_of_module(wrapper).with_context(damaged)?;
    let imports = imports(core).context("the C compiler made no WebAssembly module")?;
    for import in &imports {
        if !offered.contains(import) {
            let (module, name) = import;
            let hint = match module.as_str() {
                WASI_LIBC => {
                    "a function of C's library needs it; a plugin has no files, processes or sockets"
                }
                _ => "declare it without import_module, and add the file that defines it",
            };
            bail!("the plugin imports '{name}' from '{module}', which no host offers a plugin in C: {hint}");
        }
    }
    with_module(wrapper, core).with_context(damaged)
}

fn is_test(path: &Path) -> bool {
    path.file_name()
        .is_some_and(|name| name.to_string_lossy().starts_with("test"))
}

/// The C files directly in a folder, in order.
fn c_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let unreadable = || format!("'{}' can't be read", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(unreadable)? {
        let path = entry.with_context(unreadable)?.path();
        if path.extension() == Some(OsStr::new("c")) {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Where a program is.
fn in_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let mut candidates = env::split_paths(&path).map(|folder| folder.join(program));
    candidates.find(|candidate| candidate.is_file())
}
