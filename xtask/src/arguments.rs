//! What a chore makes of the words behind its name.

use anyhow::{Result, bail};

/// What follows `--`; anything before it is refused, since a chore that takes flags of its own
/// reads them itself.
pub(crate) fn passed_on(arguments: &[String]) -> Result<&[String]> {
    match arguments.split_first() {
        None => Ok(&[]),
        Some((dashes, rest)) if dashes == "--" => Ok(rest),
        Some((first, _)) => bail!(
            "{first:?} is not a flag of this chore; what is meant for the program goes after `--`"
        ),
    }
}

/// Refuses arguments where a chore has none.
pub(crate) fn nothing(arguments: &[String]) -> Result<()> {
    match arguments.first() {
        None => Ok(()),
        Some(first) => bail!("this chore takes no arguments, and was given {first:?}"),
    }
}
