//! Nodes from the templates that `html!` writes, see the crate `pulseboard-markup`.
//!
//! A few hundred bytes that run for every element, in place of some hundred bytes for each.

use std::{cell::RefCell, mem::ManuallyDrop, rc::Rc, slice::IterMut};

pub(crate) use pulseboard_markup::html;
use yew::{
    html::{Classes, IntoPropValue, NodeRef},
    virtual_dom::{
        AttrValue, AttributeOrProperty, Attributes, Key, Listener, Listeners, VList, VNode, VTag,
        VText,
    },
};

/// The pieces of a template; the macro writes the same numbers.
const OPEN: u8 = 1;
const CLOSE: u8 = 2;
const TEXT: u8 = 3;
const NODE: u8 = 4;
const NAME: u8 = 5;
const VALUE: u8 = 6;
const FILLED: u8 = 7;
const SPECIAL: u8 = 8;
const LIST: u8 = 9;

/// What only the running page knows of a tree.
#[derive(Default)]
pub(crate) enum Hole {
    /// It was taken.
    #[default]
    Taken,
    Node(VNode),
    Attribute(Option<AttrValue>),
    Key(Key),
    Ref(NodeRef),
    On(Option<Rc<dyn Listener>>),
    /// Of an input or a text area.
    Value(Option<AttrValue>),
    Checked(bool),
}

impl Hole {
    /// The node, of a hole that is one.
    pub(crate) fn node(self) -> VNode {
        match self {
            Self::Node(node) => node,
            _ => VNode::default(),
        }
    }
}

/// What may stand between braces.
pub(crate) trait IntoNode {
    fn into_node(self) -> VNode;
}

impl IntoNode for VNode {
    #[inline]
    fn into_node(self) -> VNode {
        self
    }
}

impl IntoNode for AttrValue {
    #[inline(never)]
    fn into_node(self) -> VNode {
        VText::new(self).into()
    }
}

impl IntoNode for String {
    #[inline(never)]
    fn into_node(self) -> VNode {
        AttrValue::from(self).into_node()
    }
}

impl IntoNode for &str {
    #[inline(never)]
    fn into_node(self) -> VNode {
        self.to_owned().into_node()
    }
}

impl<T: IntoNode> IntoNode for Option<T> {
    #[inline]
    fn into_node(self) -> VNode {
        self.map(T::into_node).unwrap_or_default()
    }
}

/// Several nodes as one.
pub(crate) fn list(nodes: impl IntoIterator<Item = VNode>) -> VNode {
    children(nodes.into_iter().collect())
}

#[inline(never)]
fn children(nodes: Vec<VNode>) -> VNode {
    VList::with_children(nodes, None).into()
}

/// The value of a `class` attribute; none where there is no class.
#[inline(never)]
pub(crate) fn class(classes: Classes) -> Option<AttrValue> {
    classes.into_prop_value()
}

/// The value of an attribute that is there or not.
#[inline(never)]
pub(crate) fn switch(name: &'static str, is_there: bool) -> Option<AttrValue> {
    is_there.then_some(AttrValue::Static(name))
}

/// The nodes of `template`, whose holes in their order are `holes`.
#[inline]
pub(crate) fn fill<const N: usize>(template: &'static str, holes: [Hole; N]) -> VNode {
    // Every one is taken, so that nothing is left to drop.
    let mut holes = ManuallyDrop::new(holes);
    build(template, holes.as_mut_slice())
}

#[inline(never)]
fn build(template: &'static str, holes: &mut [Hole]) -> VNode {
    let mut reader = Reader {
        rest: template,
        holes: holes.iter_mut(),
    };
    let nodes = reader.element("").into_children();
    nodes.unwrap_or_default()
}

struct Reader<'a> {
    rest: &'static str,
    holes: IterMut<'a, Hole>,
}

impl Reader<'_> {
    /// What comes next, and its text; the end is that of an element.
    fn piece(&mut self) -> (u8, &'static str) {
        let mut bytes = self.rest.bytes();
        let Some(piece) = bytes.next() else {
            return (CLOSE, "");
        };
        let length = bytes.position(|byte| byte <= LIST);
        let end = length.map_or(self.rest.len(), |length| length + 1);
        let text = self.rest.get(1..end).unwrap_or_default();
        self.rest = self.rest.get(end..).unwrap_or_default();
        (piece, text)
    }

    fn hole(&mut self) -> Hole {
        self.holes.next().map(std::mem::take).unwrap_or_default()
    }

    /// The rest of an element, up to its end.
    fn element(&mut self, tag: &'static str) -> VTag {
        let place = self.rest.as_ptr() as usize;
        let mut names = Vec::new();
        let mut values = Vec::new();
        let mut listeners = Vec::new();
        let mut children = Vec::new();
        let (mut key, mut node_ref) = (None, NodeRef::default());
        let (mut value, mut checked) = (None, None);
        loop {
            let (piece, text) = self.piece();
            match piece {
                OPEN => children.push(self.element(text).into()),
                LIST => children.push(self.element("").into_children().unwrap_or_default()),
                TEXT => children.push(VText::new(text).into()),
                NODE => children.push(self.hole().node()),
                NAME => names.push(text),
                VALUE => values.push(Some(AttributeOrProperty::Static(text))),
                FILLED | SPECIAL => match self.hole() {
                    Hole::Attribute(filled) => {
                        names.push(text);
                        values.push(filled.map(AttributeOrProperty::Attribute));
                    }
                    Hole::Key(of_it) => key = Some(of_it),
                    Hole::Ref(to_it) => node_ref = to_it,
                    Hole::On(listener) => listeners.push(listener),
                    Hole::Value(text) => value = text,
                    Hole::Checked(is_checked) => checked = Some(is_checked),
                    Hole::Node(_) | Hole::Taken => {}
                },
                _ => break,
            }
        }
        let attributes = if values.is_empty() {
            Attributes::default()
        } else {
            Attributes::Dynamic {
                keys: known_names(place, names),
                values: values.into_boxed_slice(),
            }
        };
        let listeners = if listeners.is_empty() {
            Listeners::None
        } else {
            Listeners::Pending(listeners.into_boxed_slice())
        };
        if tag == "input" {
            return VTag::__new_input(value, checked, node_ref, key, attributes, listeners);
        }
        if tag == "textarea" {
            return VTag::__new_textarea(value, None, node_ref, key, attributes, listeners);
        }
        let children = if children.len() == 1 {
            children.pop().unwrap_or_default()
        } else {
            self::children(children)
        };
        VTag::__new_other(tag.into(), node_ref, key, attributes, listeners, children)
    }
}

/// The names of attributes of the element at `place` in its template: always the same ones, so
/// that Yew sees by their address that only values are to be compared.
fn known_names(place: usize, names: Vec<&'static str>) -> &'static [&'static str] {
    thread_local! {
        /// As many as there are elements in the source, which is why they may stay.
        static KNOWN: RefCell<Vec<(usize, &'static [&'static str])>> = const { RefCell::new(Vec::new()) };
    }
    KNOWN.with_borrow_mut(|known| {
        let found = known.binary_search_by(|(other, _)| other.cmp(&place));
        match found {
            Ok(index) => known[index].1,
            Err(index) => {
                let names: &'static [&'static str] = names.leak();
                known.insert(index, (place, names));
                names
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attribute<'a>(tag: &'a VTag, name: &str) -> Option<&'a AttrValue> {
        let Attributes::Dynamic { keys, values } = &tag.attributes else {
            return None;
        };
        let place = keys.iter().position(|key| *key == name)?;
        match values[place].as_ref()? {
            AttributeOrProperty::Attribute(value) => Some(value),
            _ => None,
        }
    }

    fn names(tag: &VTag) -> &'static [&'static str] {
        match &tag.attributes {
            Attributes::Dynamic { keys, .. } => keys,
            _ => &[],
        }
    }

    fn tag(node: &VNode) -> &VTag {
        match node {
            VNode::VTag(tag) => tag,
            other => panic!("{other:?} is no element"),
        }
    }

    fn text(node: &VNode) -> &str {
        match node {
            VNode::VText(text) => &text.text,
            other => panic!("{other:?} is no text"),
        }
    }

    fn sample(old: bool, figure: String) -> VNode {
        html! {
            <p key="now" class={yew::classes!("now", old.then_some("is-old"))} aria-label="Now" hidden={old}>
                { "– " }
                <span title={figure.clone()}>{ figure }</span>
                if old {
                    <b>{ "old" }</b>
                }
            </p>
        }
    }

    #[test]
    fn a_tree_is_what_was_written() {
        let node = sample(true, "12.5".to_owned());
        let paragraph = tag(&node);
        assert_eq!(paragraph.tag(), "p");
        assert_eq!(paragraph.key.as_deref(), Some("now"));
        assert_eq!(names(paragraph), ["class", "aria-label", "hidden"]);
        assert_eq!(
            attribute(paragraph, "class").map(AttrValue::as_str),
            Some("now is-old")
        );
        assert_eq!(
            attribute(paragraph, "hidden").map(AttrValue::as_str),
            Some("hidden")
        );
        let Some(VNode::VList(children)) = paragraph.children() else {
            panic!("three children are a list");
        };
        assert_eq!(children.len(), 3);
        assert_eq!(text(&children[0]), "– ");
        let span = tag(&children[1]);
        assert_eq!(
            attribute(span, "title").map(AttrValue::as_str),
            Some("12.5")
        );
        assert_eq!(span.children().map(text), Some("12.5"));
        assert_eq!(tag(&children[2]).children().map(text), Some("old"));
    }

    #[test]
    fn what_is_not_there_is_no_attribute_and_no_node() {
        let node = sample(false, String::new());
        assert_eq!(attribute(tag(&node), "hidden"), None);
        let Some(VNode::VList(children)) = tag(&node).children() else {
            panic!("three children are a list");
        };
        assert!(matches!(&children[2], VNode::VList(list) if list.is_empty()));
    }

    #[test]
    fn names_of_attributes_are_known_by_their_address() {
        let (one, other) = (sample(true, "1".to_owned()), sample(false, "2".to_owned()));
        assert!(std::ptr::eq(names(tag(&one)), names(tag(&other))));
    }

    #[test]
    fn an_input_has_its_value_apart() {
        let node = html! { <input type="radio" checked={true} value={"5m"} disabled={false} /> };
        let input = tag(&node);
        assert_eq!(input.value().map(AttrValue::as_str), Some("5m"));
        assert_eq!(input.checked(), Some(true));
        assert_eq!(names(input), ["type", "disabled"]);
    }

    #[test]
    fn lists_have_their_nodes_in_order() {
        let node = html! {
            <>
                { for ["a", "b"].into_iter().map(|name| html! { <li key={name}>{ name }</li> }) }
                <li tabindex=0 />
            </>
        };
        let VNode::VList(outer) = &node else {
            panic!("{node:?}");
        };
        let VNode::VList(inner) = &outer[0] else {
            panic!("{node:?}");
        };
        let keys: Vec<_> = inner.iter().map(|node| tag(node).key.as_deref()).collect();
        assert_eq!(keys, [Some("a"), Some("b")]);
        assert_eq!(names(tag(&outer[1])), ["tabindex"]);
    }
}
