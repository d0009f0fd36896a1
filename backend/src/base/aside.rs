//! Long work that nobody waits for, on a thread of its own that gives way to those who serve.

use std::{io, sync::mpsc, thread};

use tokio::{runtime::Handle, sync::oneshot};

/// How much the thread gives way: on a core that is wanted by others it gets a quarter of what they
/// get, and whoever is woken goes before it.
#[cfg(target_os = "linux")]
const NICE: i32 = 5;
/// As far as the system goes.
#[cfg(target_os = "linux")]
const NICE_MOST: i32 = 19;

type Job = Box<dyn FnOnce() + Send>;

/// A thread, as long as this is held.
#[derive(Debug)]
pub struct Aside(mpsc::Sender<Job>);

impl Aside {
    /// Starts it within the runtime of the caller.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn start(name: &str) -> io::Result<Self> {
        let (sender, jobs) = mpsc::channel::<Job>();
        let runtime = Handle::current();
        thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || {
                let _entered = runtime.enter();
                give_way();
                for job in jobs {
                    // It says itself what has happened, and the next one has nothing to do with it.
                    drop(std::panic::catch_unwind(std::panic::AssertUnwindSafe(job)));
                }
            })?;
        Ok(Self(sender))
    }

    /// Runs one job after those before it; `None` when it panicked.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        let (done, outcome) = oneshot::channel();
        let job = move || drop(done.send(work()));
        self.0.send(Box::new(job)).ok()?;
        outcome.await.ok()
    }
}

/// Of the thread that calls it: what Linux calls a process here is one.
fn give_way() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{getpriority_process, setpriority_process};
        let given = getpriority_process(None)
            .and_then(|own| setpriority_process(None, (own + NICE).min(NICE_MOST)));
        if let Err(error) = given {
            tracing::debug!(%error, "a thread has the priority of all others");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_job_after_the_other_and_a_panic_is_that_job_s_alone() {
        let aside = Aside::start("test").expect("a thread");
        assert_eq!(aside.run(|| 7).await, Some(7));
        assert_eq!(aside.run(|| panic!("of a test")).await, None::<()>);
        let name = || thread::current().name().map(str::to_owned);
        assert_eq!(aside.run(name).await.flatten().as_deref(), Some("test"));
        let asked = aside.run(|| Handle::try_current().is_ok()).await;
        assert_eq!(asked, Some(true), "it may wait for what the runtime does");
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn it_gives_way_and_nobody_else_does() {
        let own = || rustix::process::getpriority_process(None).expect("a priority");
        let before = own();
        let aside = Aside::start("test").expect("a thread");
        assert_eq!(aside.run(own).await, Some((before + NICE).min(NICE_MOST)));
        assert_eq!(own(), before);
    }
}
