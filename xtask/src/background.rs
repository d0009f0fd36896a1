//! A chore that works while something else is done.

use std::{
    env,
    fs::{self, File},
    path::{Path, PathBuf},
    process::Child,
};

use anyhow::Result;

use crate::shell;

/// A chore of this program, in a process of its own; ended when nobody waits for it.
pub(crate) struct Background {
    child: Child,
    /// What it says: between what else is said nobody would find it.
    log: PathBuf,
}

/// What else gets of the processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Priority {
    /// Its share.
    Same,
    /// All that it wants: the chore has what is left.
    Lowest,
}

impl Background {
    /// # Errors
    /// It cannot be started.
    pub(crate) fn begin(chore: &str, flags: &[&Path], priority: Priority) -> Result<Self> {
        let log = shell::target().join(format!("{chore}.log"));
        fs::create_dir_all(shell::target())?;
        let said = File::create(&log)?;
        let itself = env::current_exe()?;
        let mut command = match priority {
            Priority::Same => shell::command(itself),
            Priority::Lowest => shell::last(itself),
        };
        command.arg(chore).args(flags);
        println!("$ {} > {} &", shell::describe(&command), log.display());
        let child = command.stdout(said.try_clone()?).stderr(said).spawn()?;
        Ok(Self { child, log })
    }

    /// Waits for its end; whether it succeeded, and what it said, which is said here.
    ///
    /// # Errors
    /// What it said cannot be read.
    pub(crate) fn end(mut self) -> Result<(bool, String)> {
        let succeeded = self.child.wait()?.success();
        let said = String::from_utf8_lossy(&fs::read(&self.log)?).into_owned();
        println!("{said}");
        Ok((succeeded, said))
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
