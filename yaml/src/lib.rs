//! Places in a text of YAML: of what turns out to be wrong after it was read, and of keys that
//! stand twice. The reader tells a place only with an error, so whoever looks for one walks there
//! and makes one. And reading a text whose nulls say nothing ([`from_str`]).

mod nulls;

pub use nulls::from_str;

use std::{collections::HashSet, fmt};

use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error as _, IgnoredAny, MapAccess, SeqAccess,
    VariantAccess as _, Visitor,
};

/// Line and column, from 1.
pub type Place = (usize, usize);

/// One step into a document.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// The value of this key; as the last step, the key itself.
    Key(&'a str),
    /// This item of a list, from 0.
    Item(usize),
}

/// Where the steps lead to, or as far as they do.
pub fn find(text: &str, steps: &[Step<'_>]) -> Option<Place> {
    let walked = Walk(steps).deserialize(yaml_serde::Deserializer::from_str(text));
    let error = walked.err()?;
    error.location().map(|at| (at.line(), at.column()))
}

/// What an error says when the walk has come to its end.
const HERE: &str = "here";

struct Walk<'a>(&'a [Step<'a>]);

impl<'de> DeserializeSeed<'de> for Walk<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// A scalar is an error by itself.
impl<'de> Visitor<'de> for Walk<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(HERE)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Some((Step::Key(wanted), rest)) = self.0.split_first() else {
            return Err(A::Error::custom(HERE));
        };
        let is_last = rest.is_empty();
        while let Some(is_it) = map.next_key_seed(IsKey { wanted, is_last })? {
            if is_it {
                return map.next_value_seed(Walk(rest));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Err(A::Error::custom(HERE))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Some((Step::Item(wanted), rest)) = self.0.split_first() else {
            return Err(A::Error::custom(HERE));
        };
        for _ in 0..*wanted {
            list.next_element::<IgnoredAny>()?;
        }
        list.next_element_seed(Walk(rest))?;
        Err(A::Error::custom(HERE))
    }
}

/// Whether a key is the one that is looked for; where the walk ends with it, that is an error.
struct IsKey<'a> {
    wanted: &'a str,
    is_last: bool,
}

impl<'de> DeserializeSeed<'de> for IsKey<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for IsKey<'_> {
    type Value = bool;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<bool, E> {
        match key == self.wanted {
            true if self.is_last => Err(E::custom(HERE)),
            is_it => Ok(is_it),
        }
    }
}

/// What the error of a key says that stands twice in one section.
const TWICE: &str = "duplicate field `";

/// Looks for a key that stands twice in one section, whatever the section is.
///
/// # Errors
/// One does. What else is wrong with the text is for others to find.
pub fn check_keys(text: &str) -> Result<(), yaml_serde::Error> {
    let walked = Unique.deserialize(yaml_serde::Deserializer::from_str(text));
    match walked {
        Err(error) if error.to_string().contains(TWICE) => Err(error),
        _ => Ok(()),
    }
}

struct Unique;

impl<'de> DeserializeSeed<'de> for Unique {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Unique {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut seen = HashSet::new();
        while map.next_key_seed(NewKey(&mut seen))?.is_some() {
            map.next_value_seed(Self)?;
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while list.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<(), A::Error> {
        let (_tag, value) = tagged.variant::<IgnoredAny>()?;
        value.newtype_variant_seed(Self)
    }

    fn visit_none<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_i128<E>(self, _: i128) -> Result<(), E> {
        Ok(())
    }

    fn visit_u128<E>(self, _: u128) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

struct NewKey<'a>(&'a mut HashSet<String>);

impl<'de> DeserializeSeed<'de> for NewKey<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NewKey<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<(), E> {
        match self.0.insert(key.to_owned()) {
            true => Ok(()),
            false => Err(E::custom(format_args!("{TWICE}{key}`"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "a: 1\njobs:\n  - name: x\n    more: [1, 2]\n  - {name: y, deep: {b: c}}\n";

    #[test]
    fn a_place_is_found_or_the_nearest_above_it() {
        for (steps, place) in [
            (&[Step::Key("a")][..], (1, 1)),
            (&[Step::Key("jobs"), Step::Item(0)], (3, 5)),
            (
                &[Step::Key("jobs"), Step::Item(0), Step::Key("more")],
                (4, 5),
            ),
            (
                &[
                    Step::Key("jobs"),
                    Step::Item(0),
                    Step::Key("more"),
                    Step::Item(1),
                ],
                (4, 15),
            ),
            (&[Step::Key("jobs"), Step::Item(1)], (5, 5)),
            (
                &[Step::Key("jobs"), Step::Item(1), Step::Key("name")],
                (5, 6),
            ),
            (
                &[Step::Key("jobs"), Step::Item(1), Step::Key("none")],
                (5, 5),
            ),
            (&[Step::Key("jobs"), Step::Item(7)], (3, 3)),
            (&[Step::Key("none"), Step::Item(0)], (1, 1)),
        ] {
            assert_eq!(find(TEXT, steps), Some(place), "{steps:?}");
        }
        assert_eq!(find("", &[Step::Key("a")]), Some((1, 1)));
    }

    #[test]
    fn a_key_that_stands_twice_is_found() {
        for text in [
            "",
            "# nothing\n",
            TEXT,
            "a: [",
            "a: !b {c: 1}\nd: 2001-01-01\n~: 1\n",
        ] {
            check_keys(text).expect(text);
        }
        for (text, place) in [
            ("a: 1\nb: 2\na: 3\n", (3, 1)),
            (
                "a:\n  - b: 1\n  - b: 2\n    c: {d: 1, e: 2, d: 3}\n",
                (4, 21),
            ),
            ("x: !t {a: 1, a: 1}\n", (1, 14)),
        ] {
            let error = check_keys(text).expect_err(text);
            let at = error.location().expect("a place");
            assert_eq!((at.line(), at.column()), place, "{error}");
        }
    }
}
