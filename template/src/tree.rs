//! A template as it was read. Every node knows the byte where it stands.

use std::{collections::BTreeMap, sync::Arc};

use crate::value::Value;

/// A template that has a name, with the text that its places are in.
#[derive(Debug)]
pub(crate) struct Template {
    pub(crate) name: Arc<str>,
    /// Of the file, which other templates may stand in, too.
    pub(crate) source: Source,
    pub(crate) body: Vec<Statement>,
}

/// A file or a receiver's text.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) name: Arc<str>,
    pub(crate) text: Arc<str>,
}

/// What was defined, by name.
pub(crate) type Defined = BTreeMap<Arc<str>, Arc<Template>>;

#[derive(Debug)]
pub(crate) struct Statement {
    pub(crate) at: usize,
    pub(crate) kind: StatementKind,
}

#[derive(Debug)]
pub(crate) enum StatementKind {
    Text(Arc<str>),
    Action(Pipeline),
    If(Branch),
    With(Branch),
    Range(Branch),
    Break,
    Continue,
    Call {
        name: Arc<str>,
        dot: Option<Pipeline>,
    },
}

#[derive(Debug)]
pub(crate) struct Branch {
    pub(crate) pipeline: Pipeline,
    pub(crate) body: Vec<Statement>,
    pub(crate) otherwise: Vec<Statement>,
}

#[derive(Debug)]
pub(crate) struct Pipeline {
    pub(crate) at: usize,
    /// With their `$`.
    pub(crate) variables: Vec<Arc<str>>,
    /// `=` in place of `:=`.
    pub(crate) assigns: bool,
    pub(crate) commands: Vec<Command>,
}

#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) at: usize,
    /// What is called, and what with.
    pub(crate) words: Vec<Word>,
}

#[derive(Debug)]
pub(crate) struct Word {
    pub(crate) at: usize,
    pub(crate) kind: WordKind,
}

#[derive(Debug)]
pub(crate) enum WordKind {
    Dot,
    Nil,
    Constant(Value),
    Function(Arc<str>),
    Variable(Arc<str>, Vec<Arc<str>>),
    /// `.A.B`
    Field(Vec<Arc<str>>),
    /// `(…).A.B`
    Chain(Box<Word>, Vec<Arc<str>>),
    Pipeline(Box<Pipeline>),
}
