//! Named templates, and rendering a text with them.

use crate::{
    error::Error,
    functions::{Functions, Limits},
    value::Value,
};

/// Templates by name, which the text that is rendered may call, and redefine for itself.
#[derive(Debug, Clone, Default)]
pub struct Set {}

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
        Err(Error::at(name, text, 0, functions.has(name).to_string()))
    }

    /// Whether there is a template of this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        let _ = name;
        false
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
        Err(Error::at("", text, variables.len(), functions.has("").to_string()))
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
        let _ = (dot, variables, functions, limits);
        Err(Error::at("", text, 0, ""))
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
        self.render(text, dot, variables, functions, limits)
    }
}
