//! A field for an expression in PromQL: completes what is typed, underlines what the server found
//! wrong, asks on Enter.

use std::collections::VecDeque;

use web_sys::HtmlTextAreaElement;
use yew::prelude::*;

use crate::{
    hooks::{use_answer, use_effect_with},
    markup::html,
    net::{config::Endpoint, json::Json},
    stores::{
        completion::{self, Offer},
        expression::{place_of_error, what_is_wrong},
    },
    words,
};

/// Names are asked for anew after so long, while they are being completed.
const NAMES_EVERY_MS: u32 = 60_000;

/// Props of [`ExpressionField`].
#[derive(Clone, Debug, PartialEq, Properties)]
pub struct Props {
    /// Where the backend is.
    pub endpoint: Endpoint,
    /// Tells fields apart: the letter of the expression.
    pub name: &'static str,
    /// What was asked.
    pub asked: AttrValue,
    /// What the server says is wrong with it.
    #[prop_or_default]
    pub problem: Option<AttrValue>,
    /// The expression is to be asked.
    pub on_ask: Callback<String>,
    /// Something was typed or completed. Whoever hears it may make it what is `asked`.
    #[prop_or_default]
    pub on_input: Option<Callback<String>>,
    /// The caret is there as soon as the field is.
    #[prop_or_default]
    pub focused: bool,
}

/// What was typed and is told to whoever asks, and comes back from there: later than the next key,
/// where somebody types fast, and is not to be taken for a change then.
#[derive(Debug, Default)]
struct Told {
    /// What the other side has, or has as soon as it has heard everything.
    newest: String,
    /// What has not come back yet.
    under_way: VecDeque<String>,
}

impl Told {
    /// Of as many it is known that they come back; keys are hardly further ahead.
    const MAX: usize = 256;

    /// Whether what is in the field now is to be told.
    fn says(&mut self, draft: &str) -> bool {
        if draft == self.newest {
            return false;
        }
        draft.clone_into(&mut self.newest);
        if self.under_way.len() >= Self::MAX {
            self.under_way.pop_front();
        }
        self.under_way.push_back(draft.to_owned());
        true
    }

    /// Whether what is asked now is another's doing, so that the field is to have it.
    fn hears(&mut self, asked: &str) -> bool {
        if let Some(place) = self.under_way.iter().position(|told| told == asked) {
            self.under_way.drain(..=place);
            return false;
        }
        let is_news = asked != self.newest;
        if is_news {
            asked.clone_into(&mut self.newest);
            self.under_way.clear();
        }
        is_news
    }
}

/// Where the place `utf16`, as browsers count, is in bytes.
fn byte_at(text: &str, utf16: u32) -> usize {
    let mut left = utf16 as usize;
    for (at, letter) in text.char_indices() {
        if left == 0 {
            return at;
        }
        left = left.saturating_sub(letter.len_utf16());
    }
    text.len()
}

/// The way back from [`byte_at`].
fn utf16_at(text: &str, byte: usize) -> u32 {
    let before = text.get(..byte).unwrap_or(text);
    u32::try_from(before.encode_utf16().count()).unwrap_or(u32::MAX)
}

/// The text again, for the underline: what is before, what is wrong, what is behind.
fn mirror(text: &str, wrong: Option<(usize, usize)>) -> Html {
    let (from, to) = wrong.unwrap_or((text.len(), text.len()));
    html! {
        <div class="expression__mirror" aria-hidden="true">
            { text[..from].to_owned() }
            if wrong.is_some() {
                <u class="expression__wrong">{ text[from..to].to_owned() }</u>
            }
            // Something behind the last line break, so that the line counts.
            { [&text[to..], "\u{200b}"].concat() }
        </div>
    }
}

/// What is offered; number `active` is the one that Enter takes.
fn list(id: &str, offers: &[Offer], active: Option<usize>, on_take: &Callback<usize>) -> Html {
    let option = |(index, offer): (usize, &Offer)| {
        let on_take = on_take.clone();
        let is_active = active == Some(index);
        // Pressed and not clicked, since the field would lose the focus before.
        let onpointerdown = move |event: PointerEvent| {
            event.prevent_default();
            on_take.emit(index);
        };
        html! {
            <li
                key={index}
                id={format!("{id}-{index}")}
                class={classes!("offers__one", is_active.then_some("is-active"))}
                role="option"
                aria-selected={if is_active { "true" } else { "false" }}
                {onpointerdown}
            >
                <span class="offers__text">{ offer.text.clone() }</span>
                <span class="offers__detail">{ offer.detail }</span>
            </li>
        }
    };
    html! {
        <ul class="offers" id={id.to_owned()} role="listbox" aria-label="Completions">
            { for offers.iter().enumerate().map(option) }
        </ul>
    }
}

/// A field for an expression.
#[component]
pub fn ExpressionField(props: &Props) -> Html {
    let field = use_node_ref();
    let draft = use_state_eq(|| props.asked.to_string());
    // While something is typed; `None` once the offers were taken or sent away.
    let caret = use_state_eq(|| None::<usize>);
    let active = use_state_eq(|| None::<usize>);
    // Where the caret goes with the next rendering.
    let next_caret = use_mut_ref(|| None::<u32>);
    let told = use_mut_ref(|| Told {
        newest: props.asked.to_string(),
        ..Told::default()
    });
    {
        let (draft, told) = (draft.setter(), told.clone());
        use_effect_with(props.asked.clone(), move |asked| {
            if told.borrow_mut().hears(asked) {
                draft.set(asked.to_string());
            }
        });
        let (field, focused) = (field.clone(), props.focused);
        use_effect_with((), move |()| {
            if let Some(field) = field.cast::<HtmlTextAreaElement>().filter(|_| focused) {
                // Fails only for what cannot be focused.
                drop(field.focus());
            }
        });
    }
    {
        let on_input = props.on_input.clone();
        use_effect_with((*draft).clone(), move |draft| {
            if let Some(on_input) = on_input
                && told.borrow_mut().says(draft)
            {
                on_input.emit(draft.clone());
            }
        });
    }
    let source = caret.and_then(|caret| completion::source(&draft, caret));
    let source = source.unwrap_or_default();
    let answer = use_answer(&props.endpoint, source.clone().into(), NAMES_EVERY_MS, 0);
    let json = answer.json.filter(|_| *answer.path == *source);
    let json = json.unwrap_or_default();
    let names = json.get("data").list().iter().filter_map(Json::text);
    let names: Vec<&str> = names.collect();
    let offers = caret.map(|caret| completion::offers(&draft, caret, &names));
    let offers = offers.unwrap_or_default();

    let on_take = {
        let (draft, caret, active) = (draft.clone(), caret.clone(), active.setter());
        let (offers, next_caret) = (offers.clone(), next_caret.clone());
        Callback::from(move |index: usize| {
            if let (Some(at), Some(offer)) = (*caret, offers.get(index)) {
                let (text, at) = completion::taken(&draft, at, offer);
                *next_caret.borrow_mut() = Some(utf16_at(&text, at));
                draft.set(text);
                caret.set(None);
                active.set(None);
            }
        })
    };
    {
        let field = field.clone();
        use_effect(move || {
            let place = next_caret.borrow_mut().take();
            if let (Some(place), Some(field)) = (place, field.cast::<HtmlTextAreaElement>()) {
                // Fails only for what has no text.
                drop(field.set_selection_range(place, place));
            }
        });
    }
    let oninput = {
        let (draft, caret, active) = (draft.setter(), caret.setter(), active.setter());
        move |event: InputEvent| {
            let field = event.target_unchecked_into::<HtmlTextAreaElement>();
            let text = field.value();
            let at = field.selection_end().ok().flatten();
            caret.set(at.map(|at| byte_at(&text, at)));
            active.set(None);
            draft.set(text);
        }
    };
    let onkeydown = {
        let (draft, caret, active) = (draft.clone(), caret.setter(), active.clone());
        let (count, on_take, on_ask) = (offers.len(), on_take.clone(), props.on_ask.clone());
        move |event: KeyboardEvent| {
            if event.is_composing() {
                return;
            }
            let by = match event.key().as_str() {
                "Enter" if !event.shift_key() => {
                    match *active {
                        Some(index) => on_take.emit(index),
                        None => {
                            caret.set(None);
                            on_ask.emit(draft.trim().to_owned());
                        }
                    }
                    return event.prevent_default();
                }
                "Tab" if count > 0 && !event.shift_key() => {
                    on_take.emit(active.unwrap_or(0));
                    return event.prevent_default();
                }
                "Escape" if count > 0 => {
                    caret.set(None);
                    active.set(None);
                    return event.stop_propagation();
                }
                "ArrowDown" if count > 0 => 1,
                "ArrowUp" if count > 0 => count - 1,
                _ => return,
            };
            event.prevent_default();
            let next = active.map_or(by - 1, |index| index + by);
            active.set(Some(next % count));
        }
    };
    let onblur = {
        let (caret, active) = (caret.setter(), active.setter());
        move |_: FocusEvent| {
            caret.set(None);
            active.set(None);
        }
    };
    let is_asked = draft.trim() == props.asked.trim();
    let problem = props.problem.as_ref().filter(|_| is_asked);
    let wrong = problem.and_then(|problem| place_of_error(problem, &draft));
    let id = ["offers-", props.name].concat();
    let problem_id = ["problem-", props.name].concat();
    let is_open = !offers.is_empty();
    html! {
        <div class="expression">
            <div class="expression__box">
                { mirror(&draft, wrong) }
                <textarea
                    ref={field}
                    class="field__input expression__text"
                    rows="1"
                    aria-label={[words::EXPRESSION, " ", props.name].concat()}
                    aria-autocomplete="list"
                    aria-haspopup="listbox"
                    aria-controls={is_open.then(|| id.clone())}
                    aria-activedescendant={active.filter(|_| is_open).map(|index| format!("{id}-{index}"))}
                    aria-invalid={problem.map(|_| "true")}
                    aria-describedby={problem.map(|_| problem_id.clone())}
                    placeholder="Expression in PromQL, such as rate(http_requests_total[5m])"
                    autocomplete="off"
                    autocapitalize="off"
                    spellcheck="false"
                    value={(*draft).clone()}
                    {oninput}
                    {onkeydown}
                    {onblur}
                ></textarea>
                if is_open {
                    { list(&id, &offers, *active, &on_take) }
                }
            </div>
            if let Some(problem) = problem {
                <p class="expression__problem" id={problem_id} role="alert">
                    { what_is_wrong(problem).to_owned() }
                </p>
            }
        </div>
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_back_late_is_not_taken_for_a_change() {
        let mut told = Told::default();
        assert!(!told.says(""));
        for typed in ["q", "qu", "q"] {
            assert!(told.says(typed));
        }
        // As one renders: some come back together, and the last says what is there.
        assert!(!told.hears("q"));
        assert!(!told.says("q"));
        assert!(!told.hears("q"), "the second one");
        assert!(told.hears("queue"), "somebody else's");
        assert!(!told.says("queue"));
        assert!(told.says("queue > 1"));
        assert!(told.hears("up"), "somebody else's, meanwhile");
        assert!(!told.says("up") && told.says("queue > 1"));
        assert!(!told.hears("queue > 1"));
    }

    #[test]
    fn places_are_counted_as_browsers_do() {
        let text = "aü😀b";
        for (utf16, byte) in [(0, 0), (1, 1), (2, 3), (4, 7), (5, 8), (99, 8)] {
            assert_eq!(byte_at(text, utf16), byte);
            if utf16 < 6 {
                assert_eq!(utf16_at(text, byte), utf16);
            }
        }
    }
}
