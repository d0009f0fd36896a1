//! What a bench makes of the words behind its name: flags, their values, and the names of servers.

use std::{slice, str::FromStr};

use anyhow::{Context, Result, bail};

/// Words that ask what there is.
const HELP: &[&str] = &["help", "--help", "-h"];

/// Prints `help` where the words ask for it, and says whether they did.
pub(crate) fn is_help(arguments: &[String], help: &str) -> bool {
    let asks = arguments.iter().any(|word| HELP.contains(&word.as_str()));
    if asks {
        println!("{help}");
    }
    asks
}

/// Some of a few things that a flag names, such as the servers of a bench.
pub(crate) trait Named: Copy + PartialEq + 'static {
    /// All of them with their names.
    const ALL: &'static [(Self, &'static str)];

    /// What it is called.
    fn name(self) -> &'static str {
        let known = Self::ALL.iter().find(|(one, _)| *one == self);
        known.map_or("?", |(_, name)| name)
    }
}

/// Flags, read one after the other.
pub(crate) struct Flags<'a> {
    words: slice::Iter<'a, String>,
    /// The one that was read last.
    flag: &'a str,
    help: &'a str,
}

impl<'a> Flags<'a> {
    /// `help` is shown to who uses one that is not there.
    pub(crate) fn new(arguments: &'a [String], help: &'a str) -> Self {
        Self {
            words: arguments.iter(),
            flag: "",
            help,
        }
    }

    /// The next flag; its value is read by one of the others.
    pub(crate) fn flag(&mut self) -> Option<&'a str> {
        self.flag = self.words.next()?;
        Some(self.flag)
    }

    /// The flag's value as it stands.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn value(&mut self) -> Result<&'a str> {
        let value = self.words.next().map(String::as_str);
        value.with_context(|| format!("{} needs a value", self.flag))
    }

    /// A number above 0.
    ///
    /// # Errors
    /// There is none, or it is another thing.
    pub(crate) fn count<T: FromStr + Default + PartialOrd>(&mut self) -> Result<T> {
        let value = self.value()?;
        counted(self.flag, value)
    }

    /// Numbers above 0, with commas between them.
    ///
    /// # Errors
    /// There is none, or one is another thing.
    pub(crate) fn counts<T: FromStr + Default + PartialOrd>(&mut self) -> Result<Vec<T>> {
        let value = self.value()?;
        let parts = value.split(',');
        parts.map(|part| counted(self.flag, part)).collect()
    }

    /// Words of `known`, with commas between them.
    ///
    /// # Errors
    /// There is none, or one that is not known.
    pub(crate) fn some_of(&mut self, known: &[&str]) -> Result<Vec<String>> {
        let value = self.value()?;
        let words = value.split(',');
        words
            .map(|word| match known.contains(&word) {
                true => Ok(word.to_owned()),
                false => bail!(unknown(self.flag, word, known)),
            })
            .collect()
    }

    /// Things of a few, by their names with commas between them.
    ///
    /// # Errors
    /// There is none, or one that is not known.
    pub(crate) fn named<T: Named>(&mut self) -> Result<Vec<T>> {
        let names: Vec<&str> = T::ALL.iter().map(|(_, name)| *name).collect();
        let wanted = self.some_of(&names)?;
        let found = wanted.iter().filter_map(|wanted| {
            let found = T::ALL.iter().find(|(_, name)| name == wanted);
            found.map(|(one, _)| *one)
        });
        Ok(found.collect())
    }

    /// Refuses the flag that was read last.
    ///
    /// # Errors
    /// Always: it names the flag, and tells those that there are.
    pub(crate) fn refuse<T>(&self) -> Result<T> {
        bail!(
            "{:?} is not a flag of this chore\n\n{}",
            self.flag,
            self.help
        )
    }
}

fn counted<T: FromStr + Default + PartialOrd>(flag: &str, text: &str) -> Result<T> {
    let count = text.parse().ok().filter(|count| *count > T::default());
    count.with_context(|| format!("{flag} needs a number above 0, and {text:?} is not one"))
}

fn unknown(flag: &str, word: &str, known: &[&str]) -> String {
    format!("{flag} knows no {word:?}; there are {}", known.join(", "))
}

/// Words as a shell would pass them on.
#[cfg(test)]
pub(crate) fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Peer {
        Ours,
        Theirs,
    }

    impl Named for Peer {
        const ALL: &'static [(Self, &'static str)] =
            &[(Self::Ours, "ours"), (Self::Theirs, "theirs")];
    }

    #[test]
    fn values_are_read_as_what_they_are() {
        let words =
            words("--rounds 3 --rates 1,20 --seconds 0.5 --servers theirs,ours --skip acks");
        let mut flags = Flags::new(&words, "");
        assert_eq!(flags.flag(), Some("--rounds"));
        assert_eq!(flags.count::<usize>().ok(), Some(3));
        assert_eq!(flags.flag(), Some("--rates"));
        assert_eq!(flags.counts::<u32>().ok(), Some(vec![1, 20]));
        flags.flag();
        assert_eq!(flags.count::<f64>().ok(), Some(0.5));
        flags.flag();
        let servers = flags.named::<Peer>().expect("both are known");
        assert_eq!(servers, [Peer::Theirs, Peer::Ours]);
        assert_eq!(servers[0].name(), "theirs");
        flags.flag();
        let skipped = flags.some_of(&["load", "acks"]);
        assert_eq!(skipped.ok(), Some(vec!["acks".to_owned()]));
        assert_eq!(flags.flag(), None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_flag() {
        let said = |text: &str, read: fn(&mut Flags<'_>) -> Result<()>| {
            let words = words(text);
            let mut flags = Flags::new(&words, "  --rounds N");
            flags.flag();
            read(&mut flags).map_err(|error| error.to_string())
        };
        let count = |flags: &mut Flags<'_>| flags.count::<usize>().map(drop);
        assert_eq!(
            said("--rounds", count),
            Err("--rounds needs a value".to_owned())
        );
        for text in ["--rounds 0", "--rounds x", "--rounds -1", "--rounds 1.5"] {
            let error = said(text, count).expect_err("it is no count");
            assert!(error.contains("--rounds needs a number above 0"), "{error}");
        }
        let error = said("--servers none", |flags| flags.named::<Peer>().map(drop));
        let error = error.expect_err("it is not known");
        assert!(error.contains("\"none\""), "{error}");
        assert!(error.contains("ours, theirs"), "{error}");
        let error = said("--round", |flags| flags.refuse()).expect_err("it is no flag");
        assert!(error.contains("--round\""), "{error}");
        assert!(error.contains("--rounds N"), "{error}");
    }

    #[test]
    fn help_is_one_of_three_words() {
        assert!(is_help(&words("--quick help"), ""));
        assert!(is_help(&words("-h"), ""));
        assert!(!is_help(&words("--quick"), ""));
    }
}
