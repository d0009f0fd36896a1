//! What of a template went wrong, as Go shows it: its words with one space between them.

use crate::{
    print::{print, quoted},
    tree::{Command, Pipeline, Statement, StatementKind, Word, WordKind},
    value::Value,
};

/// What is shown of it, in bytes.
const BYTES_MAX: usize = 1 << 10;

/// The call, or the word, that stands at a byte; nothing where there is none.
pub(crate) fn at(body: &[Statement], at: usize, is_call: bool) -> String {
    let mut text = in_body(body, at, is_call).unwrap_or_default();
    let mut end = BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    text
}

fn in_body(body: &[Statement], at: usize, is_call: bool) -> Option<String> {
    // Those that stand behind it have it neither.
    body.iter().find_map(|statement| match &statement.kind {
        StatementKind::Text(_) | StatementKind::Break | StatementKind::Continue => None,
        StatementKind::Action(pipeline) => in_pipeline(pipeline, at, is_call),
        StatementKind::If(branch) | StatementKind::With(branch) | StatementKind::Range(branch) => {
            in_pipeline(&branch.pipeline, at, is_call)
                .or_else(|| in_body(&branch.body, at, is_call))
                .or_else(|| in_body(&branch.otherwise, at, is_call))
        }
        StatementKind::Call { name, dot } => {
            let own = || {
                let given = dot.as_ref().map(|dot| format!(" {}", pipeline_text(dot)));
                let name = quoted(name, '"', false);
                format!("{{{{template {name}{}}}}}", given.unwrap_or_default())
            };
            match statement.at == at {
                true => Some(own()),
                false => dot.as_ref().and_then(|dot| in_pipeline(dot, at, is_call)),
            }
        }
    })
}

fn in_pipeline(pipeline: &Pipeline, at: usize, is_call: bool) -> Option<String> {
    pipeline.commands.iter().find_map(|command| {
        if is_call && command.at == at {
            return Some(command_text(command));
        }
        command
            .words
            .iter()
            .find_map(|word| in_word(word, at, is_call))
    })
}

fn in_word(word: &Word, at: usize, is_call: bool) -> Option<String> {
    // A call without arguments is a word alone.
    let inner = match &word.kind {
        WordKind::Pipeline(pipeline) => in_pipeline(pipeline, at, is_call),
        WordKind::Chain(inner, _) => in_word(inner, at, is_call),
        _ => None,
    };
    inner.or_else(|| (word.at == at).then(|| word_text(word)))
}

fn pipeline_text(pipeline: &Pipeline) -> String {
    let commands: Vec<String> = pipeline.commands.iter().map(command_text).collect();
    let commands = commands.join(" | ");
    if pipeline.variables.is_empty() {
        return commands;
    }
    let sign = if pipeline.assigns { "=" } else { ":=" };
    format!("{} {sign} {commands}", pipeline.variables.join(", "))
}

fn command_text(command: &Command) -> String {
    let words: Vec<String> = command.words.iter().map(word_text).collect();
    words.join(" ")
}

fn word_text(word: &Word) -> String {
    let fields = |fields: &[std::sync::Arc<str>]| -> String {
        fields.iter().map(|field| format!(".{field}")).collect()
    };
    match &word.kind {
        WordKind::Dot => ".".to_owned(),
        WordKind::Nil => "nil".to_owned(),
        WordKind::Constant(Value::Text(text)) => quoted(text, '"', false),
        WordKind::Constant(value) => {
            print(std::slice::from_ref(value), BYTES_MAX).unwrap_or_default()
        }
        WordKind::Function(name) => name.to_string(),
        WordKind::Variable(name, more) => format!("{name}{}", fields(more)),
        WordKind::Field(names) => fields(names),
        WordKind::Chain(inner, more) => format!("{}{}", word_text(inner), fields(more)),
        WordKind::Pipeline(pipeline) => format!("({})", pipeline_text(pipeline)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use crate::{
        Limits,
        prometheus::{Data, NoQuery, check, expand},
    };

    #[test]
    fn what_went_wrong_is_shown_where_it_stands() {
        let labels = BTreeMap::from([("job".to_owned(), "ä".to_owned())]);
        let data = Data {
            labels: &labels,
            value: 1.0,
            external_labels: &BTreeMap::new(),
            external_url: "",
            now_ms: 0,
        };
        for (text, said) in [
            (
                "{{ query   \"up\" }}",
                "template: a:1:103: executing \"a\" at <query \"up\">: error calling query: there is nothing to query here",
            ),
            (
                "ä\nä {{ if true }}{{ (query \"up\" | first).Value }}{{ end }}",
                "template: a:2:20: executing \"a\" at <query \"up\">: error calling query: there is nothing to query here",
            ),
            (
                "{{ $labels.job.more }}",
                "template: a:1:103: executing \"a\" at <$labels.job.more>: can't evaluate field more in type string",
            ),
            (
                "{{ query }}",
                "template: a:1:103: executing \"a\" at <query>: wrong number of args for query: want 1 got 0",
            ),
            (
                "{{ template \"none\" . }}",
                "template: a:1:100: executing \"a\" at <{{template \"none\" .}}>: template \"none\" not defined",
            ),
            (
                "{{ define \"x\" }}{{ query \"a\" }}{{ end }}{{ template \"x\" }}",
                "template: a:1:119: executing \"x\" at <query \"a\">: error calling query: there is nothing to query here",
            ),
        ] {
            let wrong = expand(text, &data, &mut NoQuery, Limits::default()).expect_err(text);
            assert_eq!(wrong.as_go("a", 100), said, "{text}");
        }
        let unread = check("{{ if }}").expect_err("it cannot be read");
        assert!(
            unread.as_go("a", 100).starts_with("template: a:1: "),
            "{unread}"
        );
    }
}
