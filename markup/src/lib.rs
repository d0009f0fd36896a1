//! `html!` for the page: Yew's syntax, a fraction of its code.
//!
//! Yew's own macro writes out the making of every element, hundreds of bytes of WebAssembly each,
//! which is most of what a visitor had to load. This one writes one text per tree, a template, and
//! a list of what only the running page knows, the holes; `markup::build` of the page makes nodes
//! of both. What is a component is left to Yew's macro.
//!
//! A template is pieces that each begin with a byte that says what they are, see [`Piece`].

use proc_macro2::{Spacing, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote, quote_spanned};
use syn::{
    Expr, ExprLit, Ident, Lit, LitStr, Result, Token, braced,
    ext::IdentExt,
    parse::{Parse, ParseStream},
    spanned::Spanned,
    token::Brace,
};

/// What a piece of a template is. The page's `markup` reads the same numbers.
#[derive(Clone, Copy)]
enum Piece {
    /// An element begins; its name.
    Open = 1,
    /// It ends.
    Close = 2,
    /// Text.
    Text = 3,
    /// The next hole is a node.
    Node = 4,
    /// The name of an attribute.
    Name = 5,
    /// Its value.
    Value = 6,
    /// The name of an attribute whose value is the next hole.
    Filled = 7,
    /// The next hole knows what it is of its element: key, reference, listener, property.
    Special = 8,
    /// A list begins, which ends as an element does.
    List = 9,
}

/// Attributes that are there or not.
const BOOLEANS: &[&str] = &[
    "autofocus",
    "disabled",
    "hidden",
    "multiple",
    "novalidate",
    "open",
    "readonly",
    "required",
    "selected",
];

/// Elements whose value is a property that the reader changes, and no attribute.
fn has_value(tag: &str) -> bool {
    matches!(tag, "input" | "textarea")
}

#[derive(Default)]
struct Template {
    text: String,
    holes: Vec<TokenStream>,
}

impl Template {
    fn piece(&mut self, piece: Piece, text: &str) {
        self.text.push(char::from(piece as u8));
        self.text.push_str(text);
    }

    fn hole(&mut self, piece: Piece, text: &str, hole: TokenStream) {
        self.piece(piece, text);
        self.holes.push(hole);
    }

    /// Text of the source, which must not look like a piece.
    fn literal(&mut self, piece: Piece, literal: &Lit) -> Result<()> {
        let text = match literal {
            Lit::Str(text) => text.value(),
            Lit::Char(text) => text.value().to_string(),
            Lit::Bool(value) => value.value.to_string(),
            Lit::Int(number) => number.base10_digits().to_owned(),
            Lit::Float(number) => number.base10_digits().to_owned(),
            other => return Err(syn::Error::new(other.span(), "this is no text")),
        };
        if text.bytes().any(|byte| byte <= Piece::List as u8) {
            return Err(syn::Error::new(literal.span(), "no control characters"));
        }
        self.piece(piece, &text);
        Ok(())
    }

    fn node(&mut self, node: TokenStream) {
        self.hole(Piece::Node, "", quote!(crate::markup::Hole::Node(#node)));
    }

    /// Everything up to the end of `input`, or up to a closing tag.
    fn nodes(&mut self, input: ParseStream<'_>) -> Result<usize> {
        let mut count = 0;
        while !(input.is_empty() || input.peek(Token![<]) && input.peek2(Token![/])) {
            count += 1;
            if input.peek(Token![if]) {
                let node = condition(input)?;
                self.node(node);
            } else if input.peek(Brace) {
                let content;
                braced!(content in input);
                self.block(&content)?;
            } else if input.peek(Token![<]) {
                self.tag(input)?;
            } else {
                let literal: Lit = input.parse()?;
                self.literal(Piece::Text, &literal)?;
            }
        }
        Ok(count)
    }

    /// What is between braces: an expression, a text, or `for` and an iterator.
    fn block(&mut self, content: ParseStream<'_>) -> Result<()> {
        if content.peek(Token![for]) {
            content.parse::<Token![for]>()?;
            let nodes: Expr = content.parse()?;
            self.node(quote_spanned!(nodes.span()=> crate::markup::list(#nodes)));
            return Ok(());
        }
        // A match at the end of a block may be followed by nothing.
        let value: Expr = content.parse()?;
        match &value {
            Expr::Lit(ExprLit { lit, .. }) => self.literal(Piece::Text, lit),
            other => {
                self.node(
                    quote_spanned!(other.span()=> crate::markup::IntoNode::into_node(#other)),
                );
                Ok(())
            }
        }
    }

    /// An element, a list, or a component.
    fn tag(&mut self, input: ParseStream<'_>) -> Result<()> {
        let open = input.fork();
        open.parse::<Token![<]>()?;
        if open.peek(Token![>]) {
            input.parse::<Token![<]>()?;
            input.parse::<Token![>]>()?;
            self.piece(Piece::List, "");
            self.nodes(input)?;
            input.parse::<Token![<]>()?;
            input.parse::<Token![/]>()?;
            input.parse::<Token![>]>()?;
            self.piece(Piece::Close, "");
            return Ok(());
        }
        let name = open.call(Ident::parse_any)?;
        if name.to_string().starts_with(char::is_uppercase) {
            let component = component(input)?;
            self.node(quote!(::yew::html!(#component)));
            return Ok(());
        }
        input.parse::<Token![<]>()?;
        input.call(Ident::parse_any)?;
        self.element(&name, input)
    }

    fn element(&mut self, name: &Ident, input: ParseStream<'_>) -> Result<()> {
        let tag = name.to_string();
        self.piece(Piece::Open, &tag);
        loop {
            if input.peek(Token![/]) {
                input.parse::<Token![/]>()?;
                input.parse::<Token![>]>()?;
                break;
            }
            if input.peek(Token![>]) {
                input.parse::<Token![>]>()?;
                self.nodes(input)?;
                input.parse::<Token![<]>()?;
                input.parse::<Token![/]>()?;
                let closed = input.call(Ident::parse_any)?;
                if closed != *name {
                    return Err(syn::Error::new(
                        closed.span(),
                        format!("<{tag}> is to be closed before"),
                    ));
                }
                input.parse::<Token![>]>()?;
                break;
            }
            self.attribute(&tag, input)?;
        }
        self.piece(Piece::Close, "");
        Ok(())
    }

    fn attribute(&mut self, tag: &str, input: ParseStream<'_>) -> Result<()> {
        let (label, value) = if input.peek(Brace) {
            // `{name}` is short for `name={name}`.
            let content;
            braced!(content in input);
            let name: Ident = content.parse()?;
            (name.to_string(), name.to_token_stream())
        } else {
            let mut label = input.call(Ident::parse_any)?.to_string();
            while input.peek(Token![-]) {
                input.parse::<Token![-]>()?;
                label.push('-');
                label.push_str(&input.call(Ident::parse_any)?.to_string());
            }
            input.parse::<Token![=]>()?;
            if input.peek(Brace) {
                let content;
                braced!(content in input);
                let value: Expr = content.parse()?;
                (label, value.to_token_stream())
            } else {
                let value: Lit = input.parse()?;
                let is_property = has_value(tag) && matches!(&*label, "value" | "checked");
                if BOOLEANS.contains(&&*label) {
                    if matches!(&value, Lit::Bool(value) if value.value) {
                        self.piece(Piece::Name, &label);
                        self.piece(Piece::Value, &label);
                    }
                    return Ok(());
                }
                if !is_property && label != "key" {
                    self.piece(Piece::Name, &label);
                    return self.literal(Piece::Value, &value);
                }
                (label, value.to_token_stream())
            }
        };
        self.filled(tag, &label, &value);
        Ok(())
    }

    fn filled(&mut self, tag: &str, label: &str, value: &TokenStream) {
        let span = value.span();
        let text = quote_spanned!(span=> ::yew::html::IntoPropValue::<
            ::std::option::Option<::yew::virtual_dom::AttrValue>>::into_prop_value(#value));
        let hole = match label {
            "key" => quote_spanned!(span=>
                Key(::std::convert::Into::<::yew::virtual_dom::Key>::into(#value))),
            "ref" => quote_spanned!(span=> Ref(#value)),
            "value" if has_value(tag) => quote!(Value(#text)),
            "checked" if tag == "input" => quote_spanned!(span=> Checked(#value)),
            _ if label.starts_with("on") => {
                let event = format_ident!("{label}");
                quote_spanned!(span=> On(::yew::html::#event::Wrapper::__macro_new(#value)))
            }
            _ => {
                let hole = if label == "class" {
                    quote_spanned!(span=> crate::markup::class(
                        ::std::convert::Into::<::yew::html::Classes>::into(#value)))
                } else if BOOLEANS.contains(&label) {
                    quote_spanned!(span=> crate::markup::switch(#label, #value))
                } else {
                    text
                };
                self.hole(
                    Piece::Filled,
                    label,
                    quote!(crate::markup::Hole::Attribute(#hole)),
                );
                return;
            }
        };
        self.hole(Piece::Special, "", quote!(crate::markup::Hole::#hole));
    }

    /// The expression that makes the nodes.
    fn into_expression(self) -> TokenStream {
        let Self { text, holes } = self;
        let text = LitStr::new(&text, proc_macro2::Span::call_site());
        quote!(crate::markup::fill(#text, [#(#holes),*]))
    }
}

/// All of `input` as one expression.
fn tree(input: ParseStream<'_>) -> Result<TokenStream> {
    let mut template = Template::default();
    let count = template.nodes(input)?;
    if !input.is_empty() {
        return Err(input.error("this was not opened"));
    }
    // What is one hole needs no template.
    if let ([hole], 1, "\u{4}") = (template.holes.as_slice(), count, &*template.text) {
        return Ok(quote!(crate::markup::Hole::node(#hole)));
    }
    if count == 0 {
        return Ok(quote!(
            <::yew::virtual_dom::VNode as ::std::default::Default>::default()
        ));
    }
    Ok(template.into_expression())
}

/// `if` with nodes in its blocks.
fn condition(input: ParseStream<'_>) -> Result<TokenStream> {
    input.parse::<Token![if]>()?;
    let condition = Expr::parse_without_eager_brace(input)?;
    let content;
    braced!(content in input);
    let then = tree(&content)?;
    let otherwise = if input.peek(Token![else]) {
        input.parse::<Token![else]>()?;
        if input.peek(Token![if]) {
            self::condition(input)?
        } else {
            let content;
            braced!(content in input);
            tree(&content)?
        }
    } else {
        quote!(<::yew::virtual_dom::VNode as ::std::default::Default>::default())
    };
    Ok(quote!(if #condition { #then } else { #otherwise }))
}

/// The tokens of a component, which has no children here.
fn component(input: ParseStream<'_>) -> Result<TokenStream> {
    let mut tokens = TokenStream::new();
    let mut was_slash = false;
    loop {
        let token: TokenTree = input.parse()?;
        let is = |mark: char| matches!(&token, TokenTree::Punct(punct) if punct.as_char() == mark);
        let (ends, slash) = (was_slash && is('>'), is('/'));
        if is('>') && !ends && !is_arrow(&tokens) {
            return Err(syn::Error::new(token.span(), "components end by />"));
        }
        was_slash = slash;
        tokens.extend([token]);
        if ends {
            return Ok(tokens);
        }
    }
}

fn is_arrow(tokens: &TokenStream) -> bool {
    let last = tokens.clone().into_iter().last();
    matches!(last, Some(TokenTree::Punct(punct)) if punct.spacing() == Spacing::Joint)
}

struct Html(TokenStream);

impl Parse for Html {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        tree(input).map(Self)
    }
}

/// See the crate.
#[proc_macro]
pub fn html(input: proc_macro::TokenStream) -> proc_macro::TokenStream {
    match syn::parse::<Html>(input) {
        Ok(Html(tokens)) => tokens.into(),
        Err(error) => error.into_compile_error().into(),
    }
}
