//! Which traces are recorded.

use executor_runtime_run::trace::TraceContext;

/// What `OTEL_TRACES_SAMPLER` says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sampler {
    /// Whether a trace that others have begun is recorded where they record it.
    pub(crate) follows_parent: bool,
    /// Decides otherwise.
    pub(crate) root: Root,
}

/// The decision about a trace as such.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Root {
    All,
    None,
    /// This share of all traces.
    Share(f64),
}

impl Default for Sampler {
    fn default() -> Self {
        Self {
            follows_parent: true,
            root: Root::All,
        }
    }
}

impl Sampler {
    pub(crate) fn samples(self, parent: Option<&TraceContext>, trace_id: [u8; 16]) -> bool {
        if let (true, Some(parent)) = (self.follows_parent, parent) {
            return parent.is_sampled();
        }
        match self.root {
            Root::All => true,
            Root::None => false,
            Root::Share(share) => is_in_share(trace_id, share),
        }
    }
}

/// By the last bytes of the id, as other implementations decide, so that all of a trace is recorded or nothing.
fn is_in_share(trace_id: [u8; 16], share: f64) -> bool {
    let [.., a, b, c, d, e, f, g, h] = trace_id;
    let number = u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> 1;
    // Times 2^63, which is exact; compared as whole numbers, because the largest of them are no floating-point numbers.
    number < (share * 9_223_372_036_854_775_808.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(is_sampled: bool) -> TraceContext {
        TraceContext::root([1; 16], [1; 8]).sampled(is_sampled)
    }

    #[test]
    fn a_parent_counts_where_it_is_to_be_followed() {
        let following = |root| Sampler {
            follows_parent: true,
            root,
        };
        assert!(following(Root::None).samples(Some(&context(true)), [1; 16]));
        assert!(!following(Root::All).samples(Some(&context(false)), [1; 16]));
        assert!(following(Root::All).samples(None, [1; 16]));
        assert!(!following(Root::None).samples(None, [1; 16]));
        let own = Sampler {
            follows_parent: false,
            root: Root::None,
        };
        assert!(!own.samples(Some(&context(true)), [1; 16]));
    }

    #[test]
    fn a_share_is_of_the_ids() {
        assert!(!is_in_share([0; 16], 0.0));
        assert!(is_in_share([0xff; 16], 1.0));
        assert!(is_in_share([0; 16], 0.001));
        let mut half = [0; 16];
        half[8] = 0x80;
        assert!(!is_in_share(half, 0.5));
        half[8] = 0x7f;
        assert!(is_in_share(half, 0.5));
    }
}
