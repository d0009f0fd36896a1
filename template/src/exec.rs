//! Templates run: data in, text or a page out, all of it counted.

use std::sync::Arc;

use crate::{
    builtin,
    error::Error,
    functions::{Functions, Limits},
    html::Page,
    methods,
    print::print,
    shown,
    tree::{
        Branch, Command, Defined, Pipeline, Statement, StatementKind, Template, Word, WordKind,
    },
    value::Value,
};

/// How text comes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    Text,
    Html,
}

enum Out {
    Text(String),
    Html(Box<Page>),
}

/// What comes after a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Statement,
    Break,
    Continue,
}

/// What went wrong where.
struct Fault {
    at: usize,
    message: String,
    /// The template that it happened in; filled in where a template is left.
    template: Option<Arc<Template>>,
}

type Done<T> = Result<T, Fault>;

struct Machine<'a> {
    /// What the text defines, then what the set has.
    defined: [&'a Defined; 2],
    functions: &'a mut dyn Functions,
    limits: Limits,
    mode: Mode,
    out: Out,
    variables: Vec<(Arc<str>, Value)>,
    steps: u64,
    depth: usize,
}

/// Runs a template. `defined` are the templates that it may call, those of the text first.
pub(crate) fn run(
    template: &Template,
    defined: [&Defined; 2],
    dot: &Value,
    variables: &[(&str, Value)],
    functions: &mut dyn Functions,
    limits: Limits,
    mode: Mode,
) -> Result<String, Error> {
    let mut machine = Machine {
        defined,
        functions,
        limits,
        mode,
        out: match mode {
            Mode::Text => Out::Text(String::new()),
            Mode::Html => Out::Html(Box::new(Page::new(limits.output_bytes))),
        },
        variables: vec![("$".into(), dot.clone())],
        steps: 0,
        depth: 0,
    };
    machine.variables.extend(
        variables
            .iter()
            .map(|(name, value)| (Arc::from(*name), value.clone())),
    );
    let failed = |fault: Fault| {
        let inner = fault.template.as_deref().unwrap_or(template);
        let what = shown::at(&inner.body, fault.at, is_of_call(&fault.message));
        let source = &inner.source;
        Error::at(&source.name, &source.text, fault.at, fault.message).executing(&inner.name, what)
    };
    machine.statements(&template.body, dot).map_err(failed)?;
    match machine.out {
        Out::Text(text) => Ok(text),
        Out::Html(page) => page
            .done()
            .map_err(|message| failed(fault(template.source.text.len(), message))),
    }
}

fn fault(at: usize, message: impl Into<String>) -> Fault {
    Fault {
        at,
        message: message.into(),
        template: None,
    }
}

impl Machine<'_> {
    fn charge(&mut self, steps: u64, at: usize) -> Done<()> {
        self.steps = self.steps.saturating_add(steps);
        if self.steps > self.limits.steps {
            return Err(fault(
                at,
                format!("the template takes more than {} steps", self.limits.steps),
            ));
        }
        Ok(())
    }

    fn charge_text(&mut self, bytes: usize, at: usize) -> Done<()> {
        self.charge(u64::try_from(bytes / 64).unwrap_or(u64::MAX), at)
    }

    fn deeper(&mut self, at: usize) -> Done<()> {
        self.depth += 1;
        if self.depth > self.limits.depth {
            return Err(fault(
                at,
                format!("exceeded maximum template depth ({})", self.limits.depth),
            ));
        }
        Ok(())
    }

    fn too_long(&self, at: usize) -> Fault {
        fault(
            at,
            format!("the text is longer than {} bytes", self.limits.output_bytes),
        )
    }

    fn statements(&mut self, body: &[Statement], dot: &Value) -> Done<Next> {
        for statement in body {
            let next = self.statement(statement, dot)?;
            if next != Next::Statement {
                return Ok(next);
            }
        }
        Ok(Next::Statement)
    }

    fn statement(&mut self, statement: &Statement, dot: &Value) -> Done<Next> {
        let at = statement.at;
        self.charge(1, at)?;
        match &statement.kind {
            StatementKind::Text(text) => self.write_text(text, at)?,
            StatementKind::Action(pipeline) => {
                let value = self.pipeline(pipeline, dot)?;
                if pipeline.variables.is_empty() {
                    self.write_value(&value, pipeline.at)?;
                }
            }
            StatementKind::If(branch) => return self.branch(branch, dot, at, false),
            StatementKind::With(branch) => return self.branch(branch, dot, at, true),
            StatementKind::Range(branch) => return self.range(branch, dot, at),
            StatementKind::Break => return Ok(Next::Break),
            StatementKind::Continue => return Ok(Next::Continue),
            StatementKind::Call { name, dot: given } => {
                let value = match given {
                    Some(pipeline) => self.pipeline(pipeline, dot)?,
                    None => Value::Nil,
                };
                self.template(name, &value, at)?;
            }
        }
        Ok(Next::Statement)
    }

    fn write_text(&mut self, text: &str, at: usize) -> Done<()> {
        self.charge_text(text.len(), at)?;
        let fits = match &mut self.out {
            Out::Html(page) => page.text(text).is_ok(),
            Out::Text(out) => {
                let fits = out.len() + text.len() <= self.limits.output_bytes;
                if fits {
                    out.push_str(text);
                }
                fits
            }
        };
        if fits { Ok(()) } else { Err(self.too_long(at)) }
    }

    fn write_value(&mut self, value: &Value, at: usize) -> Done<()> {
        if let Out::Html(page) = &mut self.out {
            let made = page.value(value);
            let bytes = value.as_text().map_or(64, |text| text.len());
            self.charge_text(bytes, at)?;
            return made.map_err(|message| fault(at, message));
        }
        match value {
            Value::Nil => self.write_text("<no value>", at),
            Value::Text(text) | Value::Safe(text) | Value::SafeUrl(text) => {
                self.write_text(text, at)
            }
            value => {
                let text = print(std::slice::from_ref(value), self.limits.output_bytes)
                    .map_err(|_error| self.too_long(at))?;
                self.write_text(&text, at)
            }
        }
    }

    fn branch(&mut self, branch: &Branch, dot: &Value, at: usize, is_with: bool) -> Done<Next> {
        self.deeper(at)?;
        let seen = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        let next = if value.truth() {
            self.statements(&branch.body, if is_with { &value } else { dot })?
        } else {
            self.statements(&branch.otherwise, dot)?
        };
        self.variables.truncate(seen);
        self.depth -= 1;
        Ok(next)
    }

    fn range(&mut self, branch: &Branch, dot: &Value, at: usize) -> Done<Next> {
        self.deeper(at)?;
        let seen = self.variables.len();
        let value = self.pipeline(&branch.pipeline, dot)?;
        let inner = self.variables.len();
        let mut any = false;
        let mut index = 0_usize;
        // Values are taken one by one, so that a range over a thousand million ends at the limit
        // of steps.
        let listed = match &value {
            Value::Object(object) => {
                let items = object.items().ok_or_else(|| cannot_range(&value, branch))?;
                self.charge(u64::try_from(items.len() / 8).unwrap_or(u64::MAX), at)?;
                Some(items)
            }
            Value::Map(items) => Some(
                items
                    .iter()
                    .map(|(key, value)| (Value::Text(key.clone()), value.clone()))
                    .collect(),
            ),
            Value::Strings(items) => Some(
                items
                    .iter()
                    .map(|(key, value)| (Value::Text(key.clone()), Value::Text(value.clone())))
                    .collect(),
            ),
            Value::List(_) | Value::Int(_) | Value::Nil => None,
            _ => return Err(cannot_range(&value, branch)),
        };
        if matches!(value, Value::Int(_)) && branch.pipeline.variables.len() > 1 {
            return Err(fault(
                branch.pipeline.at,
                "can't use an int to iterate over more than one variable",
            ));
        }
        loop {
            let number = || Value::Int(i64::try_from(index).unwrap_or(i64::MAX));
            let item = match (&listed, &value) {
                (Some(items), _) => items.get(index).cloned(),
                (None, Value::List(items)) => items.get(index).map(|item| (number(), item.clone())),
                (None, Value::Int(count)) => i64::try_from(index)
                    .is_ok_and(|index| index < *count)
                    .then(|| (number(), number())),
                _ => None,
            };
            let Some((key, item)) = item else {
                break;
            };
            any = true;
            index += 1;
            self.charge(1, at)?;
            self.declare(&branch.pipeline, key, &item, seen);
            let next = self.statements(&branch.body, &item)?;
            self.variables.truncate(inner);
            if next == Next::Break {
                break;
            }
        }
        let next = if any {
            Next::Statement
        } else {
            self.statements(&branch.otherwise, dot)?
        };
        self.variables.truncate(seen);
        self.depth -= 1;
        Ok(next)
    }

    /// The variables of a `range` for its next round.
    fn declare(&mut self, pipeline: &Pipeline, key: Value, item: &Value, seen: usize) {
        let values = match pipeline.variables.as_slice() {
            [] => return,
            [_] => vec![item.clone()],
            _ => vec![key, item.clone()],
        };
        for (index, value) in values.into_iter().enumerate() {
            if pipeline.assigns {
                self.assign(&pipeline.variables[index], value);
            } else if let Some(variable) = self.variables.get_mut(seen + index) {
                variable.1 = value;
            }
        }
    }

    fn assign(&mut self, name: &str, value: Value) -> bool {
        let variable = self
            .variables
            .iter_mut()
            .rev()
            .find(|variable| variable.0.as_ref() == name);
        match variable {
            Some(variable) => {
                variable.1 = value;
                true
            }
            None => false,
        }
    }

    fn template(&mut self, name: &str, dot: &Value, at: usize) -> Done<()> {
        let found = self.defined.iter().find_map(|defined| defined.get(name));
        let Some(template) = found.cloned() else {
            return Err(fault(at, format!("template {name:?} not defined")));
        };
        self.deeper(at)?;
        let around = std::mem::replace(&mut self.variables, vec![("$".into(), dot.clone())]);
        let done = self.statements(&template.body, dot);
        self.variables = around;
        done.map_err(|mut fault| {
            fault.template.get_or_insert_with(|| Arc::clone(&template));
            fault
        })?;
        self.depth -= 1;
        Ok(())
    }

    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Done<Value> {
        let mut value = None;
        let last = pipeline.commands.len().saturating_sub(1);
        for (index, command) in pipeline.commands.iter().enumerate() {
            // The page escapes what comes out, so that an escaper at the end would do it twice.
            if index == last && value.is_some() && self.is_escaper(command) {
                continue;
            }
            value = Some(self.command(command, dot, value)?);
        }
        let value = value.unwrap_or(Value::Nil);
        for name in &pipeline.variables {
            if !pipeline.assigns {
                self.variables.push((name.clone(), value.clone()));
            } else if !self.assign(name, value.clone()) {
                return Err(fault(pipeline.at, format!("undefined variable: {name}")));
            }
        }
        Ok(value)
    }

    /// Whether a command does what the page does anyway.
    fn is_escaper(&self, command: &Command) -> bool {
        let Out::Html(page) = &self.out else {
            return false;
        };
        let [
            Word {
                kind: WordKind::Function(name),
                ..
            },
        ] = command.words.as_slice()
        else {
            return false;
        };
        match name.as_ref() {
            "html" => true,
            "urlquery" | "urlQueryEscape" => page.is_query(),
            _ => false,
        }
    }

    fn command(&mut self, command: &Command, dot: &Value, last: Option<Value>) -> Done<Value> {
        self.charge(1, command.at)?;
        let Some((first, rest)) = command.words.split_first() else {
            return Ok(Value::Nil);
        };
        match &first.kind {
            WordKind::Function(name) => self.function(name, first.at, rest, dot, last),
            WordKind::Field(fields) => self.fields(dot, true, fields, first.at, (rest, dot, last)),
            WordKind::Variable(name, fields) if !fields.is_empty() => {
                let value = self.variable(name, first.at)?;
                self.fields(
                    &value,
                    name.as_ref() == "$",
                    fields,
                    first.at,
                    (rest, dot, last),
                )
            }
            WordKind::Chain(inner, fields) => {
                let value = self.word(inner, dot)?;
                self.fields(&value, false, fields, first.at, (rest, dot, last))
            }
            WordKind::Nil => Err(fault(first.at, "nil is not a command")),
            _ => {
                if !rest.is_empty() || last.is_some() {
                    return Err(fault(first.at, "can't give argument to non-function"));
                }
                self.word(first, dot)
            }
        }
    }

    fn variable(&self, name: &str, at: usize) -> Done<Value> {
        self.variables
            .iter()
            .rev()
            .find(|variable| variable.0.as_ref() == name)
            .map(|variable| variable.1.clone())
            .ok_or_else(|| fault(at, format!("undefined variable: {name}")))
    }

    /// A word that stands for itself, or as an argument.
    fn word(&mut self, word: &Word, dot: &Value) -> Done<Value> {
        self.charge(1, word.at)?;
        match &word.kind {
            WordKind::Dot => Ok(dot.clone()),
            WordKind::Nil => Ok(Value::Nil),
            WordKind::Constant(value) => Ok(value.clone()),
            WordKind::Function(name) => self.function(name, word.at, &[], dot, None),
            WordKind::Variable(name, fields) => {
                let value = self.variable(name, word.at)?;
                self.fields(
                    &value,
                    name.as_ref() == "$",
                    fields,
                    word.at,
                    (&[], dot, None),
                )
            }
            WordKind::Field(fields) => self.fields(dot, true, fields, word.at, (&[], dot, None)),
            WordKind::Chain(inner, fields) => {
                let value = self.word(inner, dot)?;
                self.fields(&value, false, fields, word.at, (&[], dot, None))
            }
            WordKind::Pipeline(pipeline) => self.pipeline(pipeline, dot),
        }
    }

    /// `.A.B arguments`: the arguments are those of the last.
    fn fields(
        &mut self,
        value: &Value,
        is_root: bool,
        fields: &[Arc<str>],
        at: usize,
        (words, dot, last): (&[Word], &Value, Option<Value>),
    ) -> Done<Value> {
        let Some((final_field, before)) = fields.split_last() else {
            return Ok(value.clone());
        };
        let mut value = value.clone();
        let mut is_root = is_root;
        for field in before {
            self.charge(1, at)?;
            value = methods::field(&value, field, is_root).map_err(|message| fault(at, message))?;
            is_root = false;
        }
        if words.is_empty() && last.is_none() {
            return methods::field(&value, final_field, is_root)
                .map_err(|message| fault(at, message));
        }
        let given = self.arguments(words, dot, last)?;
        self.charge_arguments(&given, at)?;
        let made =
            methods::call(&value, final_field, &given).map_err(|message| fault(at, message))?;
        self.measured(made, at)
    }

    fn arguments(&mut self, words: &[Word], dot: &Value, last: Option<Value>) -> Done<Vec<Value>> {
        let mut given = Vec::with_capacity(words.len() + 1);
        for word in words {
            given.push(self.word(word, dot)?);
        }
        given.extend(last);
        Ok(given)
    }

    fn charge_arguments(&mut self, given: &[Value], at: usize) -> Done<()> {
        let bytes = given
            .iter()
            .map(|value| value.as_text().map_or(64, |text| text.len()))
            .sum();
        self.charge_text(bytes, at)
    }

    fn function(
        &mut self,
        name: &str,
        at: usize,
        words: &[Word],
        dot: &Value,
        last: Option<Value>,
    ) -> Done<Value> {
        let failed = |message: String| fault(at, builtin::failed(name, &message));
        let is_own = self.functions.has(name);
        if !is_own && matches!(name, "and" | "or") {
            return self.shortened(name == "or", at, words, dot, last);
        }
        let given = self.arguments(words, dot, last)?;
        self.charge_arguments(&given, at)?;
        if is_own {
            if name == "tmpl" {
                return self.called(&given, at);
            }
            let cost = self.functions.cost(name, &given);
            self.charge(cost, at)?;
            let made = self
                .functions
                .call(name, &given)
                .unwrap_or_else(|| Err(format!("function {name:?} not defined")))
                .map_err(failed)?;
            return self.measured(made, at);
        }
        let made = builtin::call(name, &given, self.limits.output_bytes).map_err(failed)?;
        self.measured(made, at)
    }

    /// What a call made: texts have a bound, and what holds others is neither deep nor large.
    fn measured(&mut self, made: Value, at: usize) -> Done<Value> {
        const MOST_DEEP: usize = 50;
        match &made {
            Value::Text(text) | Value::Safe(text) | Value::SafeUrl(text) => {
                if text.len() > self.limits.output_bytes {
                    return Err(self.too_long(at));
                }
                self.charge_text(text.len(), at)?;
            }
            Value::List(_) | Value::Map(_) => {
                let mut seen = 0;
                if !fits(&made, MOST_DEEP, &mut seen) {
                    return Err(fault(at, "a value holds too many others"));
                }
                self.charge(seen / 8, at)?;
            }
            _ => {}
        }
        Ok(made)
    }

    /// `and` and `or`: arguments after the one that decides are not looked at.
    fn shortened(
        &mut self,
        is_or: bool,
        at: usize,
        words: &[Word],
        dot: &Value,
        last: Option<Value>,
    ) -> Done<Value> {
        let name = if is_or { "or" } else { "and" };
        let mut value = None;
        for word in words {
            let found = self.word(word, dot)?;
            if found.truth() == is_or {
                return Ok(found);
            }
            value = Some(found);
        }
        last.or(value).ok_or_else(|| {
            fault(
                at,
                format!("wrong number of args for {name}: want at least 1 got 0"),
            )
        })
    }

    /// `tmpl`: a template's text as a value.
    fn called(&mut self, given: &[Value], at: usize) -> Done<Value> {
        let [name, dot] = given else {
            return Err(fault(
                at,
                format!("wrong number of args for tmpl: want 2 got {}", given.len()),
            ));
        };
        let Some(name) = name.as_text() else {
            return Err(fault(at, builtin::wrong_type("string", name)));
        };
        let inner = match self.mode {
            Mode::Text => Out::Text(String::new()),
            Mode::Html => Out::Html(Box::new(Page::new(self.limits.output_bytes))),
        };
        let around = std::mem::replace(&mut self.out, inner);
        let done = self.template(name, dot, at);
        match std::mem::replace(&mut self.out, around) {
            Out::Text(text) => done.map(|()| Value::Safe(text.into())),
            Out::Html(page) => {
                done?;
                let text = page.done().map_err(|message| fault(at, message))?;
                Ok(Value::Safe(text.into()))
            }
        }
    }
}

/// Whether a message is about a call as a whole, and not about one word.
fn is_of_call(message: &str) -> bool {
    message.starts_with("error calling ")
}

fn cannot_range(value: &Value, branch: &Branch) -> Fault {
    let shown = print(std::slice::from_ref(value), 200).unwrap_or_else(|_| "it".to_owned());
    fault(
        branch.pipeline.at,
        format!("range can't iterate over {shown}"),
    )
}

/// Whether a value is at most so deep and has at most some ten thousand others in it.
fn fits(value: &Value, deep: usize, seen: &mut u64) -> bool {
    *seen += 1;
    if deep == 0 || *seen > 50_000 {
        return false;
    }
    match value {
        Value::List(items) => items.iter().all(|item| fits(item, deep - 1, seen)),
        Value::Map(items) => items.values().all(|item| fits(item, deep - 1, seen)),
        _ => true,
    }
}
