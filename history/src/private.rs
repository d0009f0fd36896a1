//! Files and folders that nobody but their owner may look into: they hold everybody's samples.

use std::{
    fs::{DirBuilder, OpenOptions},
    io,
    path::Path,
};

/// Makes a folder and those above it that are missing.
pub(crate) fn make_folder(path: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

/// How a file is opened that may be made by that.
pub(crate) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn others_see_nothing() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let made = folder.path().join("a/b");
        make_folder(&made).expect("made");
        let file = options().create(true).append(true).open(made.join("f"));
        let mode = file.expect("made").metadata().expect("there").permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
        for path in [&made, &folder.path().join("a")] {
            let mode = std::fs::metadata(path).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }
}
