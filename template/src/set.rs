//! Named templates, and rendering a text with them.

use crate::{
    builtin,
    error::Error,
    exec::{self, Mode},
    functions::{Functions, Limits},
    parse,
    tree::Defined,
    value::Value,
};

/// Templates by name, which the text that is rendered may call, and define anew for itself.
#[derive(Debug, Clone, Default)]
pub struct Set {
    defined: Defined,
}

/// Templates of a set.
const MOST_TEMPLATES: usize = 10_000;

impl Set {
    /// No templates.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes a file of `{{ define }}`s; its own body becomes the template `name`. What is defined
    /// already is replaced, though not by a body that is only space.
    ///
    /// # Errors
    /// What is wrong with the text. Nothing is taken then.
    pub fn parse(
        &mut self,
        name: &str,
        text: &str,
        functions: &dyn Functions,
    ) -> Result<(), Error> {
        let (template, defined) = read(name, text, &[], functions)?;
        if self.defined.len() + defined.len() >= MOST_TEMPLATES {
            return Err(Error::at(
                name,
                text,
                0,
                format!("there are more than {MOST_TEMPLATES} templates"),
            ));
        }
        let all = defined
            .into_iter()
            .chain([(template.name.clone(), template)]);
        for (name, template) in all {
            if !parse::is_empty(&template.body) || !self.defined.contains_key(&name) {
                self.defined.insert(name, template);
            }
        }
        Ok(())
    }

    /// Whether there is a template of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.defined.contains_key(name)
    }

    /// The names of all templates, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.defined.keys().map(AsRef::as_ref)
    }

    /// Whether a text can be read, and calls only what there is; nothing runs. `variables` are
    /// names with their `$`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(
        &self,
        text: &str,
        variables: &[&str],
        functions: &dyn Functions,
    ) -> Result<(), Error> {
        read("", text, variables, functions).map(|_| ())
    }

    /// A text rendered as `text/template` does; a key that a map has not is its zero value.
    /// `variables` are names with their `$`, and values.
    ///
    /// # Errors
    /// The text cannot be read, failed while it ran, or went past a limit.
    pub fn render(
        &self,
        text: &str,
        dot: &Value,
        variables: &[(&str, Value)],
        functions: &mut dyn Functions,
        limits: Limits,
    ) -> Result<String, Error> {
        self.run(text, dot, variables, functions, limits, Mode::Text)
    }

    /// A text rendered as `html/template` does: each value is escaped for where it stands.
    ///
    /// # Errors
    /// As [`Self::render`], and a value stands where none can be safe.
    pub fn render_html(
        &self,
        text: &str,
        dot: &Value,
        variables: &[(&str, Value)],
        functions: &mut dyn Functions,
        limits: Limits,
    ) -> Result<String, Error> {
        self.run(text, dot, variables, functions, limits, Mode::Html)
    }

    fn run(
        &self,
        text: &str,
        dot: &Value,
        variables: &[(&str, Value)],
        functions: &mut dyn Functions,
        limits: Limits,
        mode: Mode,
    ) -> Result<String, Error> {
        let names: Vec<&str> = variables.iter().map(|(name, _)| *name).collect();
        let (template, defined) = read("", text, &names, functions)?;
        // What the text defines goes before, unless it says nothing.
        let mut own = defined;
        own.retain(|name, template| {
            !parse::is_empty(&template.body) || !self.defined.contains_key(name)
        });
        exec::run(
            &template,
            [&own, &self.defined],
            dot,
            variables,
            functions,
            limits,
            mode,
        )
    }
}

fn read(
    name: &str,
    text: &str,
    variables: &[&str],
    functions: &dyn Functions,
) -> Result<(std::sync::Arc<crate::tree::Template>, Defined), Error> {
    let known = |function: &str| functions.has(function) || builtin::has(function);
    parse::parse(name, text, &known, variables)
}
