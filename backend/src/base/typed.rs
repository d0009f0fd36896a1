//! Reads JSON into types, and says where it does not fit.
//!
//! A type with named fields is read from an object alone: serde takes a list of its values, too,
//! which nobody who wrote one meant. What goes by serde's own buffer (`flatten`, `untagged`, enums
//! with a tag inside) is read as serde reads it.

use std::{cell::RefCell, fmt};

use serde::{
    Deserializer,
    de::{
        DeserializeOwned, DeserializeSeed, EnumAccess, Error, IntoDeserializer as _, MapAccess,
        SeqAccess, Unexpected, VariantAccess, Visitor,
    },
};

/// It is no JSON, or not the JSON that is expected.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct WrongJson {
    /// Where: a JSON Pointer (RFC 6901); empty for the whole.
    pub pointer: String,
    /// What is wrong there.
    pub error: serde_json::Error,
}

/// Reads a text.
///
/// # Errors
/// See [`WrongJson`].
pub fn from_slice<T: DeserializeOwned>(text: &[u8]) -> Result<T, WrongJson> {
    let mut reader = serde_json::Deserializer::from_slice(text);
    let value = read(&mut reader)?;
    match reader.end() {
        Ok(()) => Ok(value),
        Err(error) => Err(WrongJson {
            pointer: String::new(),
            error,
        }),
    }
}

/// Reads what was read as JSON already.
///
/// # Errors
/// See [`WrongJson`].
pub fn from_value<T: DeserializeOwned>(value: serde_json::Value) -> Result<T, WrongJson> {
    read(value)
}

fn read<'de, T, D>(inner: D) -> Result<T, WrongJson>
where
    T: DeserializeOwned,
    D: Deserializer<'de, Error = serde_json::Error>,
{
    let failed = RefCell::default();
    let place = Place {
        above: None,
        step: Step::Whole,
        failed: &failed,
    };
    T::deserialize(In {
        inner,
        place: &place,
    })
    .map_err(|error| {
        let mut pointer = failed.into_inner().unwrap_or_default();
        // It is said of the object that lacks it.
        let said = error.to_string();
        let named = said.strip_prefix("missing field `");
        if let Some((name, _)) = named.and_then(|rest| rest.split_once('`')) {
            pointer.push_str(&step(name));
        }
        WrongJson { pointer, error }
    })
}

/// One step of a pointer.
#[must_use]
pub fn step(name: &str) -> String {
    format!("/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// Where the reader is.
struct Place<'p> {
    above: Option<&'p Place<'p>>,
    step: Step<'p>,
    /// The first place that failed, which is the innermost.
    failed: &'p RefCell<Option<String>>,
}

enum Step<'p> {
    Whole,
    Field(&'p str),
    Item(usize),
}

impl<'p> Place<'p> {
    fn below(&'p self, step: Step<'p>) -> Self {
        Self {
            above: Some(self),
            step,
            failed: self.failed,
        }
    }

    fn write(&self, into: &mut String) {
        if let Some(above) = self.above {
            above.write(into);
        }
        match self.step {
            Step::Whole => {}
            Step::Field(name) => into.push_str(&step(name)),
            Step::Item(index) => into.push_str(&format!("/{index}")),
        }
    }

    fn noted<T, E>(&self, read: Result<T, E>) -> Result<T, E> {
        if read.is_err() {
            self.failed.borrow_mut().get_or_insert_with(|| {
                let mut pointer = String::new();
                self.write(&mut pointer);
                pointer
            });
        }
        read
    }
}

/// What is read at a place.
struct In<'p, D> {
    inner: D,
    place: &'p Place<'p>,
}

/// Who hears what was read there.
struct To<'p, V> {
    inner: V,
    place: &'p Place<'p>,
    is_object: bool,
}

impl<'p, D> In<'p, D> {
    fn parts<V>(self, visitor: V) -> (D, To<'p, V>) {
        let to = To {
            inner: visitor,
            place: self.place,
            is_object: false,
        };
        (self.inner, to)
    }
}

macro_rules! read_as_it_is {
    ($($name:ident($($more:ident: $kind:ty),*))*) => {$(
        fn $name<V: Visitor<'de>>(self, $($more: $kind,)* visitor: V) -> Result<V::Value, D::Error> {
            let (inner, to) = self.parts(visitor);
            inner.$name($($more,)* to)
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for In<'_, D> {
    type Error = D::Error;

    read_as_it_is! {
        deserialize_any() deserialize_bool()
        deserialize_i8() deserialize_i16() deserialize_i32() deserialize_i64() deserialize_i128()
        deserialize_u8() deserialize_u16() deserialize_u32() deserialize_u64() deserialize_u128()
        deserialize_f32() deserialize_f64()
        deserialize_char() deserialize_str() deserialize_string()
        deserialize_bytes() deserialize_byte_buf()
        deserialize_option() deserialize_unit() deserialize_unit_struct(name: &'static str)
        deserialize_newtype_struct(name: &'static str)
        deserialize_seq() deserialize_tuple(len: usize)
        deserialize_tuple_struct(name: &'static str, len: usize)
        deserialize_map()
        deserialize_enum(name: &'static str, variants: &'static [&'static str])
        deserialize_identifier() deserialize_ignored_any()
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let (inner, mut to) = self.parts(visitor);
        to.is_object = true;
        inner.deserialize_struct(name, fields, to)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

macro_rules! hear_as_it_is {
    ($($name:ident($kind:ty))*) => {$(
        fn $name<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.inner.$name(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for To<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    hear_as_it_is! {
        visit_bool(bool)
        visit_i8(i8) visit_i16(i16) visit_i32(i32) visit_i64(i64) visit_i128(i128)
        visit_u8(u8) visit_u16(u16) visit_u32(u32) visit_u64(u64) visit_u128(u128)
        visit_f32(f32) visit_f64(f64)
        visit_char(char) visit_str(&str) visit_borrowed_str(&'de str) visit_string(String)
        visit_bytes(&[u8]) visit_borrowed_bytes(&'de [u8]) visit_byte_buf(Vec<u8>)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let place = self.place;
        self.inner.visit_some(In { inner, place })
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        let place = self.place;
        self.inner.visit_newtype_struct(In { inner, place })
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        if self.is_object {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        self.inner.visit_seq(Items {
            inner,
            place: self.place,
            next: 0,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(Fields {
            inner,
            place: self.place,
            name: String::new(),
        })
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let place = self.place;
        self.inner.visit_enum(In { inner, place })
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for In<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, inner: D) -> Result<S::Value, D::Error> {
        let place = self.place;
        place.noted(self.inner.deserialize(In { inner, place }))
    }
}

struct Items<'p, A> {
    inner: A,
    place: &'p Place<'p>,
    next: usize,
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Items<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        inner: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let place = &self.place.below(Step::Item(self.next));
        self.next += 1;
        self.inner.next_element_seed(In { inner, place })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

struct Fields<'p, A> {
    inner: A,
    place: &'p Place<'p>,
    /// Of the field whose value comes next.
    name: String,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Fields<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, A::Error> {
        let Some(name) = self.inner.next_key::<String>()? else {
            return Ok(None);
        };
        self.name = name;
        let place = self.place.below(Step::Field(&self.name));
        place
            .noted(seed.deserialize(self.name.as_str().into_deserializer()))
            .map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, inner: S) -> Result<S::Value, A::Error> {
        let place = &self.place.below(Step::Field(&self.name));
        self.inner.next_value_seed(In { inner, place })
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, 'p, A: EnumAccess<'de>> EnumAccess<'de> for In<'p, A> {
    type Error = A::Error;
    type Variant = In<'p, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Self::Variant), A::Error> {
        let place = self.place;
        let (value, inner) = self.inner.variant_seed(seed)?;
        Ok((value, In { inner, place }))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for In<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, inner: S) -> Result<S::Value, A::Error> {
        let place = self.place;
        self.inner.newtype_variant_seed(In { inner, place })
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        let (inner, to) = self.parts(visitor);
        inner.tuple_variant(len, to)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        let (inner, mut to) = self.parts(visitor);
        to.is_object = true;
        inner.struct_variant(fields, to)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(deny_unknown_fields)]
    struct Outer {
        #[serde(default)]
        all: Vec<Inner>,
        #[serde(default)]
        by_name: BTreeMap<String, u8>,
        #[serde(default)]
        maybe: Option<Inner>,
        #[serde(default)]
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Inner {
        count: u8,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Plain,
        Named { count: u8 },
    }

    #[test]
    fn what_does_not_fit_is_pointed_to() {
        for (text, pointer, what) in [
            (
                r#"{"all":[{"count":1},{"count":"x"}]}"#,
                "/all/1/count",
                "invalid type: string",
            ),
            (
                r#"{"all":[{"count":1},{}]}"#,
                "/all/1/count",
                "missing field",
            ),
            (
                r#"{"by_name":{"a/b~c":300}}"#,
                "/by_name/a~1b~0c",
                "invalid value",
            ),
            (
                r#"{"maybe":{"count":true}}"#,
                "/maybe/count",
                "invalid type: boolean",
            ),
            (r#"{"odd":1}"#, "/odd", "unknown field `odd`"),
            (
                r#"{"kind":{"named":{"count":-1}}}"#,
                "/kind",
                "invalid value",
            ),
            (r#"{"kind":"none"}"#, "/kind", "unknown variant"),
            ("[[]]", "", "invalid type: sequence"),
            (r#"{"all":[[1]]}"#, "/all/0", "invalid type: sequence"),
            (r#"{"maybe":[1]}"#, "/maybe", "invalid type: sequence"),
            (
                r#"{"kind":{"named":[1]}}"#,
                "/kind",
                "invalid type: sequence",
            ),
            ("{} x", "", "trailing characters"),
        ] {
            let wrong = from_slice::<Outer>(text.as_bytes()).expect_err(text);
            let said = wrong.to_string();
            assert!(said.contains(what), "{text}: {said}");
            assert!(wrong.pointer.starts_with(pointer), "{text}: {wrong:?}");
            if let Ok(value) = serde_json::from_str::<Value>(text) {
                let wrong = from_value::<Outer>(value).expect_err(text);
                assert!(wrong.pointer.starts_with(pointer), "{text}: {wrong:?}");
            }
        }
    }

    #[test]
    fn what_fits_is_read() {
        let text = r#"{"all":[{"count":1}],"by_name":{"a":2},"maybe":null,"kind":"plain"}"#;
        let read: Outer = from_slice(text.as_bytes()).expect("it fits");
        let expected = Outer {
            all: vec![Inner { count: 1 }],
            by_name: BTreeMap::from([("a".to_owned(), 2)]),
            maybe: None,
            kind: Some(Kind::Plain),
        };
        assert_eq!(read, expected);
        let named = json!({"maybe": {"count": 3}, "kind": {"named": {"count": 4}}});
        let read: Outer = from_value(named).expect("it fits");
        assert_eq!(read.kind, Some(Kind::Named { count: 4 }));
        let any: Value = from_slice(b"[1,{\"a\":1.5e300}]").expect("it fits");
        assert_eq!(any, json!([1, {"a": 1.5e300}]));
    }
}
