//! How a receiver is sent to beyond what a section of a file says: one that gets all tenants'
//! samples, keeps them for others, and may lose what it took.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use crate::receiver::Said;

/// What [`Runs::run`] comes to.
pub type RunAnswer<'a> = Pin<Box<dyn Future<Output = Result<Option<u64>, String>> + Send + 'a>>;

/// Who knows which run of a receiver answers.
pub trait Runs: fmt::Debug + Send + Sync {
    /// A number that is another one after the receiver was started anew, never 0; `None` where it
    /// answers without saying so. Ends by itself within some seconds.
    ///
    /// # Errors
    /// It does not answer; in words.
    fn run(&self) -> RunAnswer<'_>;
}

/// Says whether a tenant's samples are this server's to send now.
pub type IsOurs = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// How a receiver is sent to beyond what a section of a file says. The default is as there.
#[derive(Clone, Default)]
pub struct Manner {
    /// The label that says whose a series is, see [`crate::outer_name`].
    pub tenant_label: Option<&'static str>,
    /// Where a request says it, too: each has one tenant's samples then. Needs the label.
    pub said: Option<Said>,
    /// Whether what is refused is sent again in halves until what is bad is alone, and a refusal
    /// that a person can mend (401, 403, 404) is waited out.
    pub is_careful: bool,
    /// What the receiver took is held for so long, and sent again when it was started anew.
    pub hold: Option<(Duration, Option<Arc<dyn Runs>>)>,
    /// Whose samples are ours to send; all where nobody says. What is not counts as sent, and is
    /// held as that is. Needs the label.
    pub is_ours: Option<IsOurs>,
}

impl fmt::Debug for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manner")
            .field("tenant_label", &self.tenant_label)
            .field("said", &self.said)
            .field("is_careful", &self.is_careful)
            .field("hold", &self.hold)
            .finish_non_exhaustive()
    }
}
