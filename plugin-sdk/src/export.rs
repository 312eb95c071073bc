//! Makes a crate a plugin.

/// Exports a runner: the one line that makes a crate a plugin.
///
/// Takes an expression that can stand in a constant: a unit struct, or a `const fn` call. It emits the right
/// export for the target (a component for WebAssembly, an `abi_stable` root module for a native
/// library) and embeds `plugin.json` from beside the crate's `Cargo.toml`, from which the host knows
/// the plugin without running it. Syntax and the required keys of `plugin.json` are checked when the crate is
/// compiled; everything else by a test, `plugin_json_is_valid`, that comes with the macro.
///
/// ```toml
/// [lib]
/// crate-type = ["cdylib", "lib"]
///
/// [dependencies]
/// executor-runtime-sdk = "1"
/// ```
///
/// ```ignore
/// use executor_runtime_sdk::{Context, Invocation, Outcome, RunError, Runner, export_runner};
///
/// struct Greet;
///
/// impl Runner for Greet {
///     fn run(&self, invocation: &Invocation, ctx: &mut Context) -> Result<Outcome, RunError> {
///         Ok(Outcome::succeeded())
///     }
/// }
///
/// export_runner!(Greet);
/// ```
///
/// A crate has one export. A crate that depends on another plugin's crate, to share its code, would get that
/// one's too: share code through a crate that exports nothing.
#[macro_export]
macro_rules! export_runner {
    ($runner:expr) => {
        const _: () = {
            const DESCRIPTOR: &[u8] = ::core::include_bytes!(::core::concat!(
                ::core::env!("CARGO_MANIFEST_DIR"),
                "/plugin.json"
            ));
            const _: () = $crate::__private::check_descriptor(DESCRIPTOR);

            $crate::__export_for_target!($runner, DESCRIPTOR);
        };

        #[cfg(test)]
        #[test]
        fn plugin_json_is_valid() {
            $crate::__private::test_descriptor(::core::include_bytes!(::core::concat!(
                ::core::env!("CARGO_MANIFEST_DIR"),
                "/plugin.json"
            )));
        }
    };
}

/// The component's part.
#[cfg(target_family = "wasm")]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_for_target {
    ($runner:expr, $descriptor:ident) => {
        struct Exported;

        impl $crate::__private::bindings::exports::executor_runtime::plugin::run::Guest for Exported {
            fn run(
                invocation: $crate::__private::runner_types::Invocation,
            ) -> $crate::__private::runner_types::Outcome {
                $crate::__private::run(&$runner, invocation)
            }
        }

        $crate::__private::bindings::export!(Exported with_types_in $crate::__private::bindings);

        // Named as `executor_runtime_protocol::COMPONENT_SECTION` says; an attribute takes only a literal.
        #[unsafe(link_section = "executor-runtime.plugin")]
        #[used]
        static EMBEDDED: [u8; $descriptor.len()] = $crate::__private::embed($descriptor);
    };
}

/// The native library's part.
///
/// The root module is exported as `abi_stable`'s own attribute would, which needs `abi_stable` among the
/// author's dependencies.
#[cfg(not(target_family = "wasm"))]
#[doc(hidden)]
#[macro_export]
macro_rules! __export_for_target {
    ($runner:expr, $descriptor:ident) => {
        extern "C" fn invoke(
            invocation: $crate::__private::RSlice<'_, u8>,
            host: $crate::__private::HostFunctionsRef,
        ) -> $crate::__private::RVec<u8> {
            $crate::__private::invoke(&$runner, invocation.as_slice(), host)
        }

        fn root_module() -> $crate::__private::PluginRef {
            use $crate::__private::PrefixTypeTrait as _;
            $crate::__private::Plugin { invoke }.leak_into_prefix()
        }

        extern "C" fn erased_root_module() -> $crate::__private::RootModuleResult {
            $crate::__private::__call_root_module_loader(root_module)
        }

        // SAFETY: the name is `abi_stable`'s for the root module of a library, which exports one.
        #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
        static ROOT_MODULE: $crate::__private::LibHeader = {
            // SAFETY: `erased_root_module` returns what `root_module` does: a `PluginRef`.
            unsafe {
                $crate::__private::LibHeader::from_constructor::<$crate::__private::PluginRef>(
                    erased_root_module,
                    $crate::__private::CheckTypeLayout::Yes,
                )
            }
        };

        // The section is named as `executor_runtime_protocol::ELF_SECTION` says; an attribute takes only a
        // literal. Exported, because a linker drops sections that nothing refers to.
        // SAFETY: nothing else has this name, and the section holds nothing but these bytes.
        #[unsafe(export_name = "executor_runtime_plugin_descriptor")]
        #[unsafe(link_section = ".executor_runtime_plugin")]
        #[used]
        static EMBEDDED: [u8; $descriptor.len()] = $crate::__private::embed($descriptor);
    };
}
