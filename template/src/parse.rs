//! Templates from their tokens: constructs, pipelines, words; and whether what they name is there.

use std::{collections::BTreeMap, sync::Arc};

use crate::{
    error::Error,
    lex::{Kind, Token, Wrong, tokens},
    tree::{
        Branch, Command, Defined, Pipeline, Source, Statement, StatementKind, Template, Word,
        WordKind,
    },
    value::Value,
};

/// Bytes of a file of templates.
pub(crate) const MOST_BYTES: usize = 1 << 20;
/// Constructs and parentheses within each other.
const MOST_DEEP: usize = 100;

/// Reads a file or a text. `known` says which functions there are, `variables` which variables
/// beside `$`. Gives back the text's own body and what it defines.
pub(crate) fn parse(
    name: &str,
    text: &str,
    known: &dyn Fn(&str) -> bool,
    variables: &[&str],
) -> Result<(Arc<Template>, Defined), Error> {
    let wrong = |wrong: Wrong| Error::at(name, text, wrong.at, wrong.message);
    if text.len() > MOST_BYTES {
        return Err(wrong(Wrong::new(
            0,
            format!(
                "the template has {} bytes, of at most {MOST_BYTES}",
                text.len()
            ),
        )));
    }
    let tokens = tokens(text).map_err(wrong)?;
    let mut variables: Vec<Arc<str>> = variables.iter().map(|name| Arc::from(*name)).collect();
    variables.insert(0, "$".into());
    let mut parser = Parser {
        tokens: &tokens,
        at: 0,
        known,
        variables,
        defined: BTreeMap::new(),
        source: Source {
            name: name.into(),
            text: text.into(),
        },
        loops: 0,
        depth: 0,
    };
    let body = parser.file().map_err(wrong)?;
    let template = Arc::new(Template {
        name: name.into(),
        source: parser.source.clone(),
        body,
    });
    Ok((template, parser.defined))
}

/// Whether a body says nothing: such a definition replaces none.
pub(crate) fn is_empty(body: &[Statement]) -> bool {
    body.iter().all(
        |statement| matches!(&statement.kind, StatementKind::Text(text) if text.trim().is_empty()),
    )
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    known: &'a dyn Fn(&str) -> bool,
    /// What can be named here, the innermost last.
    variables: Vec<Arc<str>>,
    defined: Defined,
    source: Source,
    /// `range`s around this place.
    loops: usize,
    depth: usize,
}

/// How a list of statements ended.
enum Ended {
    End,
    /// The token after `else` is next.
    Else(usize),
}

impl<'a> Parser<'a> {
    fn peek(&self) -> &'a Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> &'a Token {
        let token = self.peek();
        self.at += 1;
        token
    }

    fn skip_space(&mut self) {
        while matches!(self.peek().kind, Kind::Space) {
            self.at += 1;
        }
    }

    fn deeper(&mut self, at: usize) -> Result<(), Wrong> {
        self.depth += 1;
        if self.depth > MOST_DEEP {
            return Err(Wrong::new(
                at,
                format!("constructs stand in each other more than {MOST_DEEP} deep"),
            ));
        }
        Ok(())
    }

    fn unexpected(&self, token: &Token, context: &str) -> Wrong {
        let what = match &token.kind {
            Kind::End => "EOF".to_owned(),
            Kind::Text(_) => "text".to_owned(),
            Kind::Space => "space".to_owned(),
            _ => format!("{:?}", &self.source.text[token.at..token.end]),
        };
        Wrong::new(token.at, format!("unexpected {what} in {context}"))
    }

    /// `}}`
    fn close(&mut self, context: &str) -> Result<(), Wrong> {
        self.skip_space();
        let token = self.next();
        match token.kind {
            Kind::Close => Ok(()),
            _ => Err(self.unexpected(token, context)),
        }
    }

    fn file(&mut self) -> Result<Vec<Statement>, Wrong> {
        let mut body = Vec::new();
        loop {
            if matches!(self.peek().kind, Kind::End) {
                return Ok(body);
            }
            if let Some(at) = self.takes("define") {
                self.define(at)?;
                continue;
            }
            let start = self.peek().at;
            if let Some(ended) = self.statement(&mut body)? {
                let word = match ended {
                    Ended::End => "{{end}}",
                    Ended::Else(_) => "{{else}}",
                };
                return Err(Wrong::new(start, format!("unexpected {word}")));
            }
        }
    }

    /// `{{ word`, if that stands here.
    fn takes(&mut self, word: &str) -> Option<usize> {
        let before = self.at;
        if matches!(self.peek().kind, Kind::Open) {
            self.at += 1;
            self.skip_space();
            let token = self.peek();
            if matches!(&token.kind, Kind::Word(found) if found.as_ref() == word) {
                self.at += 1;
                return Some(token.at);
            }
        }
        self.at = before;
        None
    }

    fn define(&mut self, at: usize) -> Result<(), Wrong> {
        let name = self.name("define clause")?;
        self.close("define clause")?;
        let around = std::mem::replace(&mut self.variables, vec!["$".into()]);
        let body = self.body("define", at)?;
        self.variables = around;
        self.keep(name, body, at)
    }

    /// A template that the file defines.
    fn keep(&mut self, name: Arc<str>, body: Vec<Statement>, at: usize) -> Result<(), Wrong> {
        if let Some(had) = self.defined.get(&name) {
            if is_empty(&body) {
                return Ok(());
            }
            if !is_empty(&had.body) {
                return Err(Wrong::new(
                    at,
                    format!("multiple definition of template {name:?}"),
                ));
            }
        }
        let template = Template {
            name: name.clone(),
            source: self.source.clone(),
            body,
        };
        self.defined.insert(name, Arc::new(template));
        Ok(())
    }

    /// A template's name, quoted.
    fn name(&mut self, context: &str) -> Result<Arc<str>, Wrong> {
        self.skip_space();
        let token = self.next();
        match &token.kind {
            Kind::Constant(Value::Text(name)) => Ok(name.clone()),
            _ => Err(self.unexpected(token, context)),
        }
    }

    /// Statements up to an `{{end}}`.
    fn body(&mut self, what: &str, at: usize) -> Result<Vec<Statement>, Wrong> {
        match self.statements(what, at)? {
            (body, Ended::End) => Ok(body),
            (_, Ended::Else(at)) => {
                Err(Wrong::new(at, format!("unexpected {{{{else}}}} in {what}")))
            }
        }
    }

    fn statements(&mut self, what: &str, at: usize) -> Result<(Vec<Statement>, Ended), Wrong> {
        self.deeper(at)?;
        let mut body = Vec::new();
        loop {
            if matches!(self.peek().kind, Kind::End) {
                return Err(Wrong::new(
                    at,
                    format!("unexpected EOF: the {what} has no {{{{end}}}}"),
                ));
            }
            if let Some(ended) = self.statement(&mut body)? {
                self.depth -= 1;
                return Ok((body, ended));
            }
        }
    }

    /// One statement, or what ends a list of them.
    fn statement(&mut self, body: &mut Vec<Statement>) -> Result<Option<Ended>, Wrong> {
        let token = self.next();
        let at = token.at;
        if let Kind::Text(text) = &token.kind {
            let kind = StatementKind::Text(text.clone());
            body.push(Statement { at, kind });
            return Ok(None);
        }
        self.skip_space();
        let token = self.peek();
        let word = match &token.kind {
            Kind::Word(word) => word.as_ref(),
            _ => "",
        };
        let kind = match word {
            "end" => {
                self.at += 1;
                self.close("end")?;
                return Ok(Some(Ended::End));
            }
            "else" => {
                self.at += 1;
                return Ok(Some(Ended::Else(token.at)));
            }
            "define" => {
                return Err(Wrong::new(token.at, "unexpected {{define}}"));
            }
            "if" => {
                self.at += 1;
                StatementKind::If(self.branch("if", at)?)
            }
            "with" => {
                self.at += 1;
                StatementKind::With(self.branch("with", at)?)
            }
            "range" => {
                self.at += 1;
                StatementKind::Range(self.branch("range", at)?)
            }
            "break" | "continue" if self.is_alone() => {
                if self.loops == 0 {
                    return Err(Wrong::new(
                        token.at,
                        format!("{{{{{word}}}}} outside {{{{range}}}}"),
                    ));
                }
                self.at += 1;
                self.close(word)?;
                if word == "break" {
                    StatementKind::Break
                } else {
                    StatementKind::Continue
                }
            }
            "template" => {
                self.at += 1;
                let name = self.name("template clause")?;
                self.skip_space();
                let dot = if matches!(self.peek().kind, Kind::Close) {
                    self.at += 1;
                    None
                } else {
                    Some(self.pipeline("template clause", &Kind::Close)?)
                };
                StatementKind::Call { name, dot }
            }
            "block" => {
                self.at += 1;
                let name = self.name("block clause")?;
                let dot = self.pipeline("block clause", &Kind::Close)?;
                let around = std::mem::replace(&mut self.variables, vec!["$".into()]);
                let loops = std::mem::take(&mut self.loops);
                let inner = self.body("block", at)?;
                self.loops = loops;
                self.variables = around;
                self.keep(name.clone(), inner, at)?;
                StatementKind::Call {
                    name,
                    dot: Some(dot),
                }
            }
            _ => StatementKind::Action(self.pipeline("command", &Kind::Close)?),
        };
        body.push(Statement { at, kind });
        Ok(None)
    }

    /// Whether a word has nothing after it, so that it is no function's.
    fn is_alone(&self) -> bool {
        self.tokens[self.at + 1..]
            .iter()
            .find(|token| !matches!(token.kind, Kind::Space))
            .is_some_and(|token| matches!(token.kind, Kind::Close))
    }

    /// `if`, `with` or `range`, whose word was read.
    fn branch(&mut self, what: &str, at: usize) -> Result<Branch, Wrong> {
        let seen = self.variables.len();
        let pipeline = self.pipeline(what, &Kind::Close)?;
        let is_loop = what == "range";
        self.loops += usize::from(is_loop);
        let (body, ended) = self.statements(what, at)?;
        self.loops -= usize::from(is_loop);
        let mut otherwise = Vec::new();
        if let Ended::Else(else_at) = ended {
            self.skip_space();
            let token = self.peek();
            let follows = match &token.kind {
                Kind::Word(word) => word.as_ref(),
                _ => "",
            };
            // `{{else if x}}` stands for `{{else}}{{if x}}`, whose end is the outer one's.
            if what != "range" && follows == what {
                self.at += 1;
                self.deeper(token.at)?;
                let inner = self.branch(what, token.at)?;
                self.depth -= 1;
                let kind = if what == "if" {
                    StatementKind::If(inner)
                } else {
                    StatementKind::With(inner)
                };
                otherwise.push(Statement { at: token.at, kind });
            } else {
                self.close("else")?;
                match self.statements(what, at)? {
                    (rest, Ended::End) => otherwise = rest,
                    (_, Ended::Else(again)) => {
                        return Err(Wrong::new(
                            again,
                            format!(
                                "expected end; found {{{{else}}}} after the one of line {}",
                                crate::error::place(&self.source.text, else_at).0
                            ),
                        ));
                    }
                }
            }
        }
        self.variables.truncate(seen);
        Ok(Branch {
            pipeline,
            body,
            otherwise,
        })
    }

    fn pipeline(&mut self, context: &str, closes: &Kind) -> Result<Pipeline, Wrong> {
        self.skip_space();
        let at = self.peek().at;
        self.deeper(at)?;
        let (variables, assigns) = self.declarations(context)?;
        let mut commands = Vec::new();
        loop {
            self.skip_space();
            let token = self.peek();
            let closed = std::mem::discriminant(&token.kind) == std::mem::discriminant(closes);
            if closed {
                self.at += 1;
                break;
            }
            if !commands.is_empty() {
                // A command ended by `|`, after which one has to come.
                match token.kind {
                    Kind::Pipe => self.at += 1,
                    _ => return Err(self.unexpected(token, context)),
                }
                self.skip_space();
            }
            commands.push(self.command(context)?);
        }
        if commands.is_empty() {
            return Err(Wrong::new(at, format!("missing value for {context}")));
        }
        for (index, command) in commands.iter().enumerate().skip(1) {
            if let Some(Word {
                kind: WordKind::Dot | WordKind::Nil | WordKind::Constant(_),
                at,
                ..
            }) = command.words.first()
            {
                return Err(Wrong::new(
                    *at,
                    format!("non executable command in pipeline stage {}", index + 1),
                ));
            }
        }
        self.depth -= 1;
        // What is declared can be named after the pipeline, not in it.
        if !assigns {
            self.variables.extend(variables.iter().cloned());
        }
        Ok(Pipeline {
            at,
            variables,
            assigns,
            commands,
        })
    }

    /// `$x :=`, `$x =`, and `$i, $x :=` of a `range`.
    fn declarations(&mut self, context: &str) -> Result<(Vec<Arc<str>>, bool), Wrong> {
        let before = self.at;
        let mut variables = Vec::new();
        loop {
            self.skip_space();
            let token = self.peek();
            let Kind::Variable(name) = &token.kind else {
                if variables.is_empty() {
                    self.at = before;
                    return Ok((Vec::new(), false));
                }
                return Err(self.unexpected(token, &format!("{context}'s variables")));
            };
            self.at += 1;
            self.skip_space();
            let follows = self.peek();
            match follows.kind {
                Kind::Comma if context == "range" && variables.is_empty() => {
                    self.at += 1;
                    variables.push(name.clone());
                }
                Kind::Comma => {
                    return Err(Wrong::new(
                        follows.at,
                        format!("too many declarations in {context}"),
                    ));
                }
                Kind::Declare | Kind::Assign => {
                    self.at += 1;
                    variables.push(name.clone());
                    let assigns = matches!(follows.kind, Kind::Assign);
                    if assigns {
                        for variable in &variables {
                            self.is_defined(variable, token.at)?;
                        }
                    }
                    return Ok((variables, assigns));
                }
                _ if variables.is_empty() => {
                    self.at = before;
                    return Ok((variables, false));
                }
                _ => return Err(self.unexpected(follows, &format!("{context}'s variables"))),
            }
        }
    }

    fn is_defined(&self, variable: &str, at: usize) -> Result<(), Wrong> {
        if self
            .variables
            .iter()
            .any(|known| known.as_ref() == variable)
        {
            Ok(())
        } else {
            Err(Wrong::new(at, format!("undefined variable {variable:?}")))
        }
    }

    fn command(&mut self, context: &str) -> Result<Command, Wrong> {
        let at = self.peek().at;
        let mut words = Vec::new();
        loop {
            let Some(word) = self.word(context)? else {
                let token = self.peek();
                if words.is_empty() {
                    return Err(match token.kind {
                        Kind::Pipe | Kind::Close | Kind::RightParenthesis => {
                            Wrong::new(token.at, format!("missing value for {context}"))
                        }
                        _ => self.unexpected(token, context),
                    });
                }
                break;
            };
            words.push(word);
            let token = self.peek();
            match token.kind {
                Kind::Space => self.skip_space(),
                Kind::Pipe | Kind::Close | Kind::RightParenthesis => break,
                _ => return Err(self.unexpected(token, "operand")),
            }
        }
        Ok(Command { at, words })
    }

    /// A word with the fields that follow it, or nothing where none begins.
    fn word(&mut self, context: &str) -> Result<Option<Word>, Wrong> {
        let token = self.peek();
        let at = token.at;
        let kind = match &token.kind {
            Kind::Dot => WordKind::Dot,
            Kind::Field(name) => WordKind::Field(vec![name.clone()]),
            Kind::Variable(name) => {
                self.is_defined(name, at)?;
                WordKind::Variable(name.clone(), Vec::new())
            }
            Kind::Constant(value) => WordKind::Constant(value.clone()),
            Kind::Word(word) => match word.as_ref() {
                "nil" => WordKind::Nil,
                word if (self.known)(word) => WordKind::Function(word.into()),
                "if" | "with" | "range" | "end" | "else" | "define" | "block" | "template"
                | "break" | "continue" => return Err(self.unexpected(token, context)),
                word => {
                    return Err(Wrong::new(at, format!("function {word:?} not defined")));
                }
            },
            Kind::LeftParenthesis => {
                self.at += 1;
                let inner = self.pipeline("parenthesized pipeline", &Kind::RightParenthesis)?;
                self.at -= 1;
                WordKind::Pipeline(Box::new(inner))
            }
            _ => return Ok(None),
        };
        self.next();
        let mut fields = Vec::new();
        while let Kind::Field(name) = &self.peek().kind {
            fields.push(name.clone());
            self.next();
        }
        if fields.is_empty() {
            return Ok(Some(Word { at, kind }));
        }
        let kind = match kind {
            WordKind::Field(mut first) => {
                first.extend(fields);
                WordKind::Field(first)
            }
            WordKind::Variable(name, _) => WordKind::Variable(name, fields),
            kind @ (WordKind::Pipeline(_) | WordKind::Function(_)) => {
                WordKind::Chain(Box::new(Word { at, kind }), fields)
            }
            _ => {
                return Err(Wrong::new(
                    at,
                    format!(
                        "unexpected . after term {:?}",
                        &self.source.text[at..token.end]
                    ),
                ));
            }
        };
        Ok(Some(Word { at, kind }))
    }
}
