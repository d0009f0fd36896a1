//! What Redis runs for us, each as one step.

use std::sync::LazyLock;

use redis::{Cmd, Script};

macro_rules! scripts {
    ($($(#[$about:meta])* $name:ident = $($file:literal)+;)*) => {
        /// A script by its name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Name { $($(#[$about])* $name,)* }

        /// All of them, in the order of [`Name`].
        static SCRIPTS: LazyLock<Vec<Script>> = LazyLock::new(|| {
            CODES.iter().map(|code| Script::new(code)).collect()
        });

        static CODES: &[&str] = &[$(concat!($(include_str!(concat!("scripts/", $file)),)+),)*];
    };
}

scripts! {
    /// A frame into a feed.
    Append = "position.lua" "append.lua";
    /// What a feed holds.
    Read = "position.lua" "read.lua";
    /// Where feeds are.
    Tops = "tops.lua";
    /// Takes or renews a lease.
    Lease = "lease.lua";
    /// Gives it back.
    Release = "release.lua";
    /// Whether somebody has it.
    Leased = "leased.lua";
    /// A member is there.
    Beat = "beat.lua";
    /// A member goes.
    Leave = "leave.lua";
    /// What was measured at a moment.
    Report = "report.lua";
    /// Items into totals.
    Count = "count.lua";
    /// A state that goes on, told and noted at once.
    Step = "position.lua" "step.lua";
    /// A document by its revision.
    Put = "put.lua";
    /// An entry of a table.
    Entry = "entry.lua";
    /// A whole table.
    Table = "table.lua";
    /// A table that nothing was in.
    Begin = "begin.lua";
    /// Something of a list.
    Keep = "keep.lua";
    /// Something onto a shelf.
    Shelve = "position.lua" "shelve.lua";
    /// What changed on a shelf.
    Shelved = "shelved.lua";
    /// A member's figures among those of all.
    Gauge = "gauge.lua";
    /// A member's figures as a whole, and the sums of the others.
    Tell = "tell.lua";
    /// Some of them, as far as a limit of all leaves.
    Ask = "ask.lua";
    /// Samples that this server wants from the others.
    Want = "want.lua";
    /// Tenants of whose samples some are wanted.
    Wanting = "wanting.lua";
    /// Which of them.
    Wanted = "wanted.lua";
}

impl Name {
    /// The command that runs it; keys and then arguments are to be added.
    pub(crate) fn command(self, keys: usize) -> Cmd {
        let mut command = redis::cmd("EVALSHA");
        let hash = SCRIPTS.get(self as usize).map_or("", Script::get_hash);
        command.arg(hash).arg(keys);
        command
    }
}

/// Commands that make a server know all scripts.
pub(crate) fn load() -> Vec<Cmd> {
    let load = |code: &&str| {
        let mut command = redis::cmd("SCRIPT");
        command.arg("LOAD").arg(*code);
        command
    };
    CODES.iter().map(load).collect()
}
