//! Reading a text in which `null` stands for what is not written: `params: ~`, `rule_files: null`,
//! a key with nothing behind it. The files' own programs take it so.
//!
//! The text is walked once for where nulls are. Only where there are some, the reader is led past
//! them, entry by entry beside what the walk found; places in errors stay those of the text.

use std::fmt;

use serde::{
    de::{
        DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IgnoredAny, MapAccess,
        SeqAccess, VariantAccess as _, Visitor,
    },
    forward_to_deserialize_any,
};

/// Reads a text; nothing where it says nothing. A null behind a key that there is counts as if the
/// key were not there, and a key that nobody knows is an error whatever stands behind it.
///
/// # Errors
/// As those of the reader.
pub fn from_str<T: DeserializeOwned>(text: &str) -> Result<Option<T>, yaml_serde::Error> {
    // What cannot be walked cannot be read either, and the reader says why.
    let walked = Find.deserialize(yaml_serde::Deserializer::from_str(text));
    match walked {
        Ok(nulls @ (Nulls::Map(_) | Nulls::List(_))) => {
            let inner = yaml_serde::Deserializer::from_str(text);
            T::deserialize(Past {
                inner,
                nulls: &nulls,
            })
            .map(Some)
        }
        _ => yaml_serde::from_str(text),
    }
}

/// Where nulls are: as many items as the text has at most, and none below what has no null.
#[derive(Debug)]
enum Nulls {
    /// There is none here.
    Without,
    /// Here is one.
    Here,
    Map(Vec<Nulls>),
    List(Vec<Nulls>),
}

impl Nulls {
    fn of(all: Vec<Self>, made: impl FnOnce(Vec<Self>) -> Self) -> Self {
        match all.iter().all(|one| matches!(one, Self::Without)) {
            true => Self::Without,
            false => made(all),
        }
    }
}

struct Find;

impl<'de> DeserializeSeed<'de> for Find {
    type Value = Nulls;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Nulls, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Find {
    type Value = Nulls;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Nulls, A::Error> {
        let mut all = Vec::new();
        while map.next_key::<IgnoredAny>()?.is_some() {
            all.push(map.next_value_seed(Self)?);
        }
        Ok(Nulls::of(all, Nulls::Map))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Nulls, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = list.next_element_seed(Self)? {
            all.push(one);
        }
        Ok(Nulls::of(all, Nulls::List))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, tagged: A) -> Result<Nulls, A::Error> {
        let (_tag, value) = tagged.variant::<IgnoredAny>()?;
        value.newtype_variant::<IgnoredAny>()?;
        Ok(Nulls::Without)
    }

    fn visit_none<E>(self) -> Result<Nulls, E> {
        Ok(Nulls::Here)
    }

    fn visit_unit<E>(self) -> Result<Nulls, E> {
        Ok(Nulls::Here)
    }

    fn visit_bool<E>(self, _: bool) -> Result<Nulls, E> {
        Ok(Nulls::Without)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Nulls, E> {
        Ok(Nulls::Without)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Nulls, E> {
        Ok(Nulls::Without)
    }

    fn visit_i128<E>(self, _: i128) -> Result<Nulls, E> {
        Ok(Nulls::Without)
    }

    fn visit_u128<E>(self, _: u128) -> Result<Nulls, E> {
        Ok(Nulls::Without)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Nulls, E> {
        Ok(Nulls::Without)
    }

    fn visit_str<E>(self, _: &str) -> Result<Nulls, E> {
        Ok(Nulls::Without)
    }
}

/// Which keys are passed over when a null stands behind them.
#[derive(Clone, Copy)]
enum Keys {
    /// None: whoever reads so looks for himself.
    Nobody,
    /// All: there are no wrong ones.
    All,
    /// These; others are the reader's to refuse.
    These(&'static [&'static str]),
}

impl Keys {
    fn has(self, key: &str) -> bool {
        match self {
            Self::Nobody => false,
            Self::All => true,
            Self::These(keys) => keys.contains(&key),
        }
    }
}

/// A map or a list with nulls in it, and the reader of it.
struct Past<'a, R> {
    inner: R,
    nulls: &'a Nulls,
}

impl<'de, R: DeserializeSeed<'de>> DeserializeSeed<'de> for Past<'_, R> {
    type Value = R::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<R::Value, D::Error> {
        self.inner.deserialize(Past {
            inner: deserializer,
            nulls: self.nulls,
        })
    }
}

impl<'de, R: Deserializer<'de>> Deserializer<'de> for Past<'_, R> {
    type Error = R::Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, R::Error> {
        let visit = Visit::new(visitor, self.nulls, Keys::Nobody);
        self.inner.deserialize_any(visit)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, R::Error> {
        let visit = Visit::new(visitor, self.nulls, Keys::All);
        self.inner.deserialize_map(visit)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, R::Error> {
        let visit = Visit::new(visitor, self.nulls, Keys::These(fields));
        self.inner.deserialize_struct(name, fields, visit)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, R::Error> {
        let visit = Visit::new(visitor, self.nulls, Keys::Nobody);
        self.inner.deserialize_option(visit)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, R::Error> {
        let visit = Visit::new(visitor, self.nulls, Keys::Nobody);
        self.inner.deserialize_newtype_struct(name, visit)
    }

    // The rest is no map and no list, and so refused by its reader.
    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct seq tuple tuple_struct enum identifier ignored_any
    }
}

/// What reads a map or a list, led past its nulls.
struct Visit<'a, V> {
    visitor: V,
    nulls: &'a Nulls,
    keys: Keys,
}

impl<'a, V> Visit<'a, V> {
    fn new(visitor: V, nulls: &'a Nulls, keys: Keys) -> Self {
        Self {
            visitor,
            nulls,
            keys,
        }
    }

    fn items(&self) -> std::slice::Iter<'a, Nulls> {
        match self.nulls {
            Nulls::Map(all) | Nulls::List(all) => all.iter(),
            Nulls::Without | Nulls::Here => [].iter(),
        }
    }
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Visit<'_, V> {
    type Value = V::Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(formatter)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<V::Value, A::Error> {
        let items = self.items();
        self.visitor.visit_map(Entries {
            inner: map,
            items,
            item: &Nulls::Without,
            keys: self.keys,
        })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<V::Value, A::Error> {
        let items = self.items();
        self.visitor.visit_seq(Items { inner: list, items })
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let nulls = self.nulls;
        self.visitor.visit_some(Past { inner, nulls })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let nulls = self.nulls;
        self.visitor.visit_newtype_struct(Past { inner, nulls })
    }
}

struct Entries<'a, A> {
    inner: A,
    items: std::slice::Iter<'a, Nulls>,
    /// Of the key that was read last.
    item: &'a Nulls,
    keys: Keys,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Entries<'_, A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let mut seed = Some(seed);
        loop {
            self.item = self.items.next().unwrap_or(&Nulls::Without);
            let null = matches!(self.item, Nulls::Here);
            let read = Key {
                seed: &mut seed,
                passed: null.then_some(self.keys),
            };
            match self.inner.next_key_seed(read)? {
                None => return Ok(None),
                Some(Some(key)) => return Ok(Some(key)),
                Some(None) => drop(self.inner.next_value::<IgnoredAny>()?),
            }
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        match self.item {
            Nulls::Without | Nulls::Here => self.inner.next_value_seed(seed),
            nulls => self.inner.next_value_seed(Past { inner: seed, nulls }),
        }
    }
}

/// A key; none where it is one of those that are passed over.
struct Key<'a, K> {
    seed: &'a mut Option<K>,
    passed: Option<Keys>,
}

impl<'de, K: DeserializeSeed<'de>> DeserializeSeed<'de> for Key<'_, K> {
    type Value = Option<K::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        if self.passed.is_none() {
            let seed = self.seed.take();
            return seed.map(|seed| seed.deserialize(deserializer)).transpose();
        }
        deserializer.deserialize_str(self)
    }
}

impl<'de, K: DeserializeSeed<'de>> Visitor<'de> for Key<'_, K> {
    type Value = Option<K::Value>;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a key")
    }

    fn visit_str<E: serde::de::Error>(self, key: &str) -> Result<Self::Value, E> {
        if self.passed.is_some_and(|keys| keys.has(key)) {
            return Ok(None);
        }
        let seed = self.seed.take();
        let key = serde::de::value::StrDeserializer::new(key);
        seed.map(|seed| seed.deserialize(key)).transpose()
    }
}

struct Items<'a, A> {
    inner: A,
    items: std::slice::Iter<'a, Nulls>,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        match self.items.next() {
            Some(nulls @ (Nulls::Map(_) | Nulls::List(_))) => {
                self.inner.next_element_seed(Past { inner: seed, nulls })
            }
            _ => self.inner.next_element_seed(seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default, deny_unknown_fields)]
    struct All {
        number: u64,
        text: String,
        list: Vec<Inner>,
        map: BTreeMap<String, Vec<String>>,
        inner: Option<Inner>,
        any: Option<yaml_serde::Value>,
    }

    fn seven() -> u64 {
        7
    }

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Inner {
        name: String,
        #[serde(default = "seven", rename = "type")]
        kind: u64,
        #[serde(default)]
        more: Vec<u64>,
    }

    #[test]
    fn a_null_is_as_good_as_no_key() {
        let text = "number: ~\ntext: null\nlist:\n- name: a\n  type:\n  more: Null\n- {type: 3, name: b, more: ~}\nmap: {a: ~, b: [c]}\ninner: {name: 'null', type: ~, more: [1]}\nany: {x: ~}\n";
        let all: All = from_str(text).expect(text).expect("something");
        let named = |name: &str, kind: u64, more: &[u64]| Inner {
            name: name.to_owned(),
            kind,
            more: more.to_vec(),
        };
        assert_eq!(all.list, [named("a", 7, &[]), named("b", 3, &[])]);
        assert_eq!(all.map, [("b".to_owned(), vec!["c".to_owned()])].into());
        assert_eq!(all.inner, Some(named("null", 7, &[1])));
        assert!(all.any.expect("any").get("x").expect("x").is_null());
        assert_eq!((all.number, all.text.as_str()), (0, ""));
        for nothing in ["", "# nothing\n", "~", "null\n"] {
            assert_eq!(from_str::<All>(nothing).expect(nothing), None);
        }
        let anchors = "list: [&a {name: x, more: ~}, *a]\n";
        let all: All = from_str(anchors).expect(anchors).expect("something");
        assert_eq!(all.list, [named("x", 7, &[]), named("x", 7, &[])]);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (text, place, words) in [
            ("number: ~\nnumbre: ~\n", (2, 1), "unknown field `numbre`"),
            (
                "text: ~\nlist:\n- name: ~\n",
                (3, 3),
                "list[0]: missing field `name`",
            ),
            (
                "text: ~\nlist:\n- name: a\n  type: ~\n  more: [x]\n",
                (5, 10),
                "list[0].more[0]",
            ),
            ("list:\n- ~\n", (2, 3), "list[0]: invalid type"),
            (
                "list: [~, {name: a, type: ~, x: ~}]\n",
                (1, 8),
                "invalid type",
            ),
            ("number: {x: ~}\n", (1, 9), "number: invalid type: map"),
        ] {
            let error = from_str::<All>(text).expect_err(text);
            let at = error.location().expect("a place");
            let told = error.to_string();
            assert_eq!(
                ((at.line(), at.column()), told.contains(words)),
                (place, true),
                "{told}"
            );
        }
    }
}
