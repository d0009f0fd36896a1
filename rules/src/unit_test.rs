//! What `promtool test rules` says of a file.
pub use crate::check::Report;

/// Where files come from.
pub trait Files {
    /// The text of a file.
    ///
    /// # Errors
    /// Why it cannot be read, as the operating system says it: `open FILE: no such file or directory`.
    fn read(&mut self, path: &str) -> Result<String, String>;

    /// The files that a pattern stands for (`*`, `?`, `[…]`), in order; one without wildcards stands
    /// for itself where it is there.
    ///
    /// # Errors
    /// It is no pattern.
    fn glob(&mut self, pattern: &str) -> Result<Vec<String>, String>;
}

/// Runs the tests of a file.
#[must_use]
pub fn test(file: &str, files: &mut dyn Files) -> Report {
    let _ = (file, files);
    todo!()
}
