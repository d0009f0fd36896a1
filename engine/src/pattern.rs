//! Patterns of matchers, compiled within a bound and shared by all selectors that have the same.
//!
//! The automaton is built here and not by `regex`, since every byte of it is to be known: `regex`
//! keeps caches of its own for each pattern and thread. Here a pattern is one NFA; who walks over
//! many series brings the cache for a lazy DFA along ([`Scratch`]), and where that gives up, or one
//! key alone is tested, the NFA is simulated. Both take time linear in the text.

use std::{
    cell::RefCell,
    collections::HashMap,
    fmt,
    sync::{
        Arc, LazyLock, Weak,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;
use regex_automata::{
    Anchored, Input,
    hybrid::dfa,
    nfa::thompson::{
        self, NFA, WhichCaptures,
        pikevm::{self, PikeVM},
    },
    util::syntax,
};

/// Classes such as `\w` and `\pL` in one pattern: each is hundreds of ranges while it is read,
/// whatever comes out.
const CLASSES_MAX: usize = 64;

/// How deep a pattern may be nested.
const NEST_MAX: u32 = 50;

/// Of a lazy DFA's cache, where that suffices for a handful of states; else what these take.
const CACHE_BYTES: usize = 64 * 1024;

/// A cache that was full so often is given up where it brings little.
const CACHE_CLEARS_MAX: usize = 3;

/// From so many on, alternatives without any special character are looked up in a list.
const WORDS_MIN: usize = 8;

/// Bytes that all compiled patterns take now.
static HELD_BYTES: AtomicUsize = AtomicUsize::new(0);

/// All that are in use, so that equal ones are compiled once.
static KNOWN: LazyLock<Mutex<HashMap<Arc<str>, Weak<Pattern>>>> = LazyLock::new(Mutex::default);

thread_local! {
    /// For one key at a time; as large as the largest pattern made it.
    static ONE_KEY: RefCell<Option<pikevm::Cache>> = const { RefCell::new(None) };
}

/// A matcher's pattern, anchored at both ends and compiled within a bound; shared by all selectors
/// that have the same.
pub(crate) struct Pattern {
    text: Arc<str>,
    /// Where it is a list of words, these; the automata are then of nothing.
    words: Option<Words>,
    /// Where it is a list of few words, these; what fits is then the automata's all the same.
    few: Option<Words>,
    lazy: dfa::DFA,
    vm: PikeVM,
    bytes: usize,
}

/// Whether a character that stands for itself behind a backslash; `\<` and `\>` are ends of words.
fn is_escaped(one: &char) -> bool {
    one.is_ascii_punctuation() && !matches!(one, '<' | '>')
}

/// The words of `one|two|three`, as a dashboard writes the chosen values of a variable: an
/// automaton would take some twenty times their length.
struct Words {
    text: Box<str>,
    /// Where each is, in their order.
    sorted: Box<[(u32, u32)]>,
}

impl Words {
    /// Those of a pattern that has no special character but `|`, whatever is escaped, and a pair of
    /// brackets around all; at least `min`.
    fn of(pattern: &str, min: usize) -> Option<Self> {
        let inner = pattern
            .strip_prefix('(')
            .and_then(|rest| rest.strip_suffix(')'))
            .map(|rest| rest.strip_prefix("?:").unwrap_or(rest))
            .filter(|rest| !rest.ends_with('\\'))
            .unwrap_or(pattern);
        let mut text = String::with_capacity(inner.len());
        let mut places = Vec::new();
        let mut start = 0;
        let mut rest = inner.chars();
        while let Some(one) = rest.next() {
            match one {
                '|' => {
                    places.push((start, u32::try_from(text.len()).ok()?));
                    start = u32::try_from(text.len()).ok()?;
                }
                '\\' => text.push(rest.next().filter(is_escaped)?),
                '.' | '+' | '*' | '?' | '(' | ')' | '[' | ']' | '{' | '}' | '^' | '$' => {
                    return None;
                }
                _ => text.push(one),
            }
        }
        places.push((start, u32::try_from(text.len()).ok()?));
        if places.len() < min {
            return None;
        }
        let mut words = Self {
            text: text.into(),
            sorted: Box::default(),
        };
        places.sort_unstable_by(|a, b| words.word(*a).cmp(words.word(*b)));
        words.sorted = places.into();
        Some(words)
    }

    fn word(&self, (start, end): (u32, u32)) -> &str {
        self.text
            .get(start as usize..end as usize)
            .unwrap_or_default()
    }

    fn contains(&self, text: &str) -> bool {
        let order = |place: &(u32, u32)| self.word(*place).cmp(text);
        self.sorted.binary_search_by(order).is_ok()
    }

    fn bytes(&self) -> usize {
        self.text.len() + size_of_val(&*self.sorted)
    }
}

/// What a walk needs to test many texts.
#[derive(Debug, Default)]
pub(crate) struct Scratch(Option<dfa::Cache>);

/// Bytes that all compiled patterns of this process take now.
#[must_use]
pub fn pattern_bytes() -> usize {
    HELD_BYTES.load(Ordering::Relaxed)
}

impl Pattern {
    /// The pattern, compiled if it is not known yet, where that takes at most `bytes_max`.
    pub(crate) fn compile(text: &str, bytes_max: usize) -> Result<Arc<Self>, String> {
        const TOO_LARGE: &str = "the pattern is too large; repeat less";
        let known = KNOWN.lock().get(text).and_then(Weak::upgrade);
        if let Some(known) = known {
            return match known.bytes <= bytes_max {
                true => Ok(known),
                false => Err(TOO_LARGE.to_owned()),
            };
        }
        let classes = text.split('\\').skip(1);
        let is_class = |rest: &&str| rest.starts_with(|c: char| "pPwWdDsSbB".contains(c));
        if classes.filter(is_class).count() > CLASSES_MAX {
            return Err(format!(
                "the pattern has more than {CLASSES_MAX} classes such as \\w"
            ));
        }
        let build = |text: &str| {
            thompson::Compiler::new()
                .syntax(syntax::Config::new().nest_limit(NEST_MAX))
                .configure(
                    thompson::Config::new()
                        .which_captures(WhichCaptures::None)
                        .nfa_size_limit(Some(bytes_max)),
                )
                .build(text)
                .map_err(|error| match error.size_limit() {
                    Some(_) => TOO_LARGE.to_owned(),
                    None => format!("the pattern is not a regular expression: {}", why(&error)),
                })
        };
        let words = Words::of(text, WORDS_MIN);
        let few = Words::of(text, 1).filter(|_| words.is_none());
        let nfa = if words.is_some() {
            build("")?
        } else {
            // By itself first: `a)|(b` is one only between brackets, and would not be anchored
            // there.
            build(text)?;
            build(&format!("^(?s:{text})$"))?
        };
        let of_words: usize = words.iter().chain(&few).map(Words::bytes).sum();
        let bytes = nfa.memory_usage() + of_words;
        if bytes > bytes_max {
            return Err(TOO_LARGE.to_owned());
        }
        let made = Self::of(text.into(), (words, few), nfa, bytes)
            .map_err(|error| format!("the pattern cannot be used: {error}"))?;
        HELD_BYTES.fetch_add(bytes, Ordering::Relaxed);
        let made = Arc::new(made);
        KNOWN
            .lock()
            .insert(Arc::clone(&made.text), Arc::downgrade(&made));
        Ok(made)
    }

    fn of(
        text: Arc<str>,
        (words, few): (Option<Words>, Option<Words>),
        nfa: NFA,
        bytes: usize,
    ) -> Result<Self, String> {
        let config = dfa::Config::new()
            .cache_capacity(CACHE_BYTES)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(CACHE_CLEARS_MAX))
            .minimum_bytes_per_state(Some(10))
            .unicode_word_boundary(true);
        let lazy = dfa::Builder::new()
            .configure(config)
            .build_from_nfa(nfa.clone())
            .map_err(|error| error.to_string())?;
        let vm = PikeVM::new_from_nfa(nfa).map_err(|error| error.to_string())?;
        Ok(Self {
            text,
            words,
            few,
            lazy,
            vm,
            bytes,
        })
    }

    /// All texts that it fits, where it is a list of them and nothing is none.
    pub(crate) fn listed(&self) -> Option<impl Iterator<Item = &str>> {
        let words = self.words.as_ref().or(self.few.as_ref())?;
        let all = words.sorted.iter().map(|place| words.word(*place));
        // They are in order: an empty one comes first.
        all.clone()
            .next()
            .is_some_and(|first| !first.is_empty())
            .then_some(all)
    }

    /// As it was written.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// Bytes that it takes, compiled.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether it fits a text; for who tests few.
    pub(crate) fn fits(&self, text: &str) -> bool {
        if let Some(words) = &self.words {
            return words.contains(text);
        }
        ONE_KEY.with_borrow_mut(|cache| {
            let cache = cache.get_or_insert_with(|| self.vm.create_cache());
            cache.reset(&self.vm);
            self.vm
                .is_match(cache, Input::new(text).anchored(Anchored::Yes))
        })
    }

    /// Whether it fits a text; for who tests many.
    pub(crate) fn fits_with(&self, scratch: &mut Scratch, text: &str) -> bool {
        if let Some(words) = &self.words {
            return words.contains(text);
        }
        let cache = scratch.0.get_or_insert_with(|| self.lazy.create_cache());
        let input = Input::new(text).anchored(Anchored::Yes).earliest(true);
        match self.lazy.try_search_fwd(cache, &input) {
            Ok(found) => found.is_some(),
            // It gave up, or there is a text that it cannot decide on.
            Err(_) => self.fits(text),
        }
    }
}

/// What is wrong with a pattern; the error of the parser below says it, with the place.
fn why(error: &thompson::BuildError) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = cause.to_string();
        source = cause.source();
    }
    text
}

impl Drop for Pattern {
    fn drop(&mut self) {
        HELD_BYTES.fetch_sub(self.bytes, Ordering::Relaxed);
        let mut known = KNOWN.lock();
        // Another one of the same text may have been made meanwhile.
        if known
            .get(&self.text)
            .is_some_and(|held| held.strong_count() == 0)
        {
            known.remove(&self.text);
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Pattern({:?})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 64 * 1024;

    #[test]
    fn both_ways_to_test_agree() {
        for (pattern, text, fits) in [
            ("a|ab", "ab", true),
            ("a.c", "a\nc", true),
            (r"\d+", "12", true),
            (r"\d+", "12x", false),
            (r"\bé\b", "é", true),
            (".*a.{20}.*", "aaaaaaaaaaaaaaaaaaaaaaaaaaaa", true),
            ("", "", true),
            ("", "x", false),
            ("(?i)GET", "get", true),
        ] {
            let compiled = Pattern::compile(pattern, MAX).expect("a pattern");
            assert_eq!(compiled.fits(text), fits, "{pattern}");
            let mut scratch = Scratch::default();
            for _ in 0..2 {
                assert_eq!(compiled.fits_with(&mut scratch, text), fits, "{pattern}");
            }
        }
    }

    /// Words are found as the automaton of the same alternatives would find them.
    #[test]
    fn a_list_of_words_is_what_its_alternatives_are() {
        let list = r"b|a\.b|ab||a|\(c\)|a-b|é|a";
        // Beside a class that nothing has, they are no list.
        let automaton = Pattern::compile(&format!("{list}|[x]{{40}}"), MAX).expect("a pattern");
        assert!(automaton.words.is_none());
        for pattern in [list.to_owned(), format!("({list})"), format!("(?:{list})")] {
            let words = Pattern::compile(&pattern, MAX).expect("a pattern");
            assert!(words.words.is_some(), "{pattern}");
            for text in [
                "", "a", "b", "ab", "a.b", "axb", "(c)", "a-b", "é", "A", "b|a", "c",
            ] {
                assert_eq!(words.fits(text), automaton.fits(text), "{pattern}: {text}");
                let fits = words.fits_with(&mut Scratch::default(), text);
                assert_eq!(fits, automaton.fits(text), "{pattern}: {text}");
            }
        }
        for other in [r"a|b|c|d|e|f|g|h\d", "a|b|c|d|e|f|g|(h)", "a|b"] {
            let other = Pattern::compile(other, MAX).expect("a pattern");
            assert!(other.words.is_none());
        }
        let unclosed = r"(a|b|c|d|e|f|g|h\)";
        assert!(Pattern::compile(unclosed, MAX).is_err());
        let many: Vec<String> = (0..400)
            .map(|at| format!("machine-{at}.rack.example"))
            .collect();
        let many = many.join("|").replace('.', r"\.");
        assert!(Pattern::compile(&many, MAX).expect("a pattern").bytes() < 2 * many.len());
    }

    #[test]
    fn equal_patterns_are_compiled_once_and_forgotten_with_their_last_user() {
        let text = "shared_by_.{7}_selectors";
        let one = Pattern::compile(text, MAX).expect("a pattern");
        let other = Pattern::compile(text, MAX).expect("a pattern");
        assert!(Arc::ptr_eq(&one, &other));
        assert!(
            Pattern::compile(text, one.bytes() - 1).is_err(),
            "a smaller bound"
        );
        drop((one, other));
        assert!(!KNOWN.lock().contains_key(text));
    }

    #[test]
    fn what_would_be_large_is_refused() {
        let all = [
            "(a{1000}){1000}".to_owned(),
            r"\w{1,20}".to_owned(),
            format!("(?i){}", r"\pL".repeat(65)),
            format!("{}a{}", "(".repeat(60), ")".repeat(60)),
        ];
        for text in all {
            assert!(Pattern::compile(&text, MAX).is_err(), "{text}");
        }
    }
}
