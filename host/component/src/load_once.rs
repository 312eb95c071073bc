//! A value that is loaded once, on a thread of its own, for all who wait for it.
//!
//! A run that stops waiting does not stop the loading, and the next run waits for the same one. Otherwise a run that is
//! tried again after its deadline would compile the component once more, beside the first.

use executor_runtime_plugin::Unusable;
use executor_runtime_run::{exhaustion, panic_message};
use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, OnceLock, PoisonError},
};
use tokio::sync::watch;

/// How a loading ended; none yet.
type Ending = Option<Result<(), Unusable>>;

#[derive(Debug)]
pub(crate) struct LoadOnce<T> {
    value: Arc<OnceLock<T>>,
    /// The loading that is under way, or was the last.
    loading: Mutex<Option<watch::Receiver<Ending>>>,
}

/// A loading that can be waited for.
#[derive(Debug)]
pub(crate) struct Loading(watch::Receiver<Ending>);

impl<T> Default for LoadOnce<T> {
    fn default() -> Self {
        Self {
            value: Arc::default(),
            loading: Mutex::default(),
        }
    }
}

impl<T: Send + Sync + 'static> LoadOnce<T> {
    /// The value, if it is loaded.
    pub(crate) fn get(&self) -> Option<&T> {
        self.value.get()
    }

    /// Begins to load it with `load`, unless that is under way already. What failed is tried again.
    ///
    /// # Errors
    /// When there is no thread for it.
    pub(crate) fn begin(
        &self,
        load: impl FnOnce() -> Result<T, Unusable> + Send + 'static,
    ) -> Result<Loading, Unusable> {
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ending) = &*loading
            && !matches!(&*ending.borrow(), Some(Err(_)))
        {
            return Ok(Loading(ending.clone()));
        }
        let (tell, ending) = watch::channel(None);
        let value = Arc::clone(&self.value);
        let work = move || {
            let loaded = catch_unwind(AssertUnwindSafe(load)).unwrap_or_else(|panic| {
                let message = panic_message(&*panic);
                Err(Unusable::Load(format!("it panicked: {message}")))
            });
            // It is there before its end is told.
            let ended = loaded.map(|loaded| drop(value.set(loaded)));
            tell.send_replace(Some(ended));
        };
        exhaustion::try_spawn_blocking(work).map_err(|error| Unusable::exhausted(&error))?;
        *loading = Some(ending.clone());
        Ok(Loading(ending))
    }

    /// Waits for the end of a loading of this value.
    ///
    /// # Errors
    /// Why it failed.
    pub(crate) async fn ended(&self, loading: Loading) -> Result<&T, Unusable> {
        let Loading(mut ending) = loading;
        // The other end is gone only after it has told.
        if let Ok(ended) = ending.wait_for(Option::is_some).await
            && let Some(Err(reason)) = &*ended
        {
            return Err(reason.clone());
        }
        let lost = || Unusable::Load("its thread has ended".to_owned());
        self.value.get().ok_or_else(lost)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        sync::{
            atomic::{AtomicUsize, Ordering},
            mpsc,
        },
        time::Duration,
    };
    use tokio::time::timeout;

    #[tokio::test]
    async fn those_who_give_up_and_those_who_come_later_wait_for_one_loading() {
        let once = LoadOnce::default();
        let begun = Arc::new(AtomicUsize::new(0));
        let (go, may_go) = mpsc::channel();
        let may_go = Arc::new(Mutex::new(may_go));
        let begin = || {
            let (begun, may_go) = (Arc::clone(&begun), Arc::clone(&may_go));
            once.begin(move || {
                begun.fetch_add(1, Ordering::SeqCst);
                may_go.lock().unwrap().recv().unwrap();
                Ok(7)
            })
        };
        for _ in 0..3 {
            let waiting = once.ended(begin().unwrap());
            timeout(Duration::from_millis(1), waiting).await.unwrap_err();
        }
        assert_eq!(once.get(), None);
        let (one, other) = (begin().unwrap(), begin().unwrap());
        go.send(()).unwrap();
        assert_eq!(once.ended(one).await, Ok(&7));
        assert_eq!(once.ended(other).await, Ok(&7));
        assert_eq!(once.ended(begin().unwrap()).await, Ok(&7));
        assert_eq!(begun.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn what_failed_is_tried_again() {
        let once = LoadOnce::default();
        let failed = || Unusable::Load("no".to_owned());
        let loading = once.begin(move || Err(failed())).unwrap();
        assert_eq!(once.ended(loading).await, Err(failed()));
        let loading = once.begin(|| panic!("oh")).unwrap();
        let panicked = Unusable::Load("it panicked: oh".to_owned());
        assert_eq!(once.ended(loading).await, Err(panicked));
        let loading = once.begin(|| Ok(1)).unwrap();
        assert_eq!(once.ended(loading).await, Ok(&1));
    }
}
