//! The fields of a form as `multipart/form-data` has them (RFC 7578), of a body that is there as a
//! whole. Files among them are passed over.

/// Parts of one form. Far more than any question has parameters.
const PARTS_MAX: usize = 256;

/// What is between the parts, as the parameters of the media type say it.
pub(super) fn boundary(parameters: &str) -> Option<String> {
    let value = parameter(parameters, "boundary")?;
    // RFC 2046 has no more.
    (1..=70).contains(&value.len()).then_some(value)
}

/// Names and values. Nothing where the body is no such form, or has too many parts.
pub(super) fn fields(body: &[u8], boundary: &str) -> Option<Vec<(String, String)>> {
    let between = format!("\r\n--{boundary}");
    // The first may stand at the beginning; what is before it says nothing.
    let mut rest = match body.strip_prefix(between.as_bytes().get(2..)?) {
        Some(rest) => rest,
        None => split(body, between.as_bytes())?.1,
    };
    let mut fields = Vec::new();
    for _ in 0..PARTS_MAX {
        if rest.starts_with(b"--") {
            return Some(fields);
        }
        let (line, of_part) = split(rest, b"\r\n")?;
        if !line.iter().all(|byte| matches!(byte, b' ' | b'\t')) {
            return None;
        }
        // Without a header the blank line comes at once, and no name.
        let (part, next) = split(of_part, between.as_bytes())?;
        rest = next;
        let (head, value) = split(part, b"\r\n\r\n")?;
        let head = String::from_utf8_lossy(head);
        let said = head.split("\r\n").find_map(|line| {
            let (name, said) = line.split_once(':')?;
            let is_it = name.trim().eq_ignore_ascii_case("content-disposition");
            let (kind, parameters) = said.split_once(';')?;
            (is_it && kind.trim().eq_ignore_ascii_case("form-data")).then_some(parameters)
        });
        if let Some(said) = said
            && parameter(said, "filename").is_none()
            && let Some(name) = parameter(said, "name")
        {
            fields.push((name, String::from_utf8_lossy(value).into_owned()));
        }
    }
    None
}

/// What is before and behind the first such bytes.
fn split<'a>(bytes: &'a [u8], at: &[u8]) -> Option<(&'a [u8], &'a [u8])> {
    let found = bytes.windows(at.len()).position(|here| here == at)?;
    Some((bytes.get(..found)?, bytes.get(found + at.len()..)?))
}

/// A parameter's value, quoted or not.
fn parameter(parameters: &str, wanted: &str) -> Option<String> {
    let mut rest = parameters;
    loop {
        rest = rest.trim_start_matches([';', ' ', '\t']);
        let (name, behind) = rest.split_once('=')?;
        let mut value = String::new();
        rest = match behind.strip_prefix('"') {
            Some(quoted) => {
                let mut ahead = quoted.chars();
                loop {
                    match ahead.next()? {
                        '"' => break,
                        '\\' => value.push(ahead.next()?),
                        one => value.push(one),
                    }
                }
                ahead.as_str()
            }
            None => {
                let end = behind.find(';').unwrap_or(behind.len());
                let (text, behind) = behind.split_at(end);
                value.push_str(text.trim_end());
                behind
            }
        };
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Option<Vec<(String, String)>> {
        fields(body.as_bytes(), "x-y")
    }

    fn of(all: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        let all = all.iter();
        Some(
            all.map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
                .collect(),
        )
    }

    #[test]
    fn fields_have_names_and_values() {
        let head = "Content-Disposition: form-data; name=";
        let form = format!(
            "before\r\n--x-y \r\n{head}\"query\"\r\n\r\nup{{a=\"b\"}}\r\n--x\r\n--x-y\r\ncontent-type: text/plain\r\ncontent-disposition: Form-Data ; Name=time\r\n\r\n5\r\n--x-y--\r\nbehind"
        );
        let query = "up{a=\"b\"}\r\n--x";
        assert_eq!(read(&form), of(&[("query", query), ("time", "5")]));
        let file = format!(
            "--x-y\r\n{head}\"a\\\"b\"; filename=\"f\"\r\n\r\n1\r\n--x-y\r\n{head}\"a\\\"b\"\r\n\r\n\r\n--x-y--"
        );
        assert_eq!(read(&file), of(&[("a\"b", "")]));
        assert_eq!(read("--x-y--"), of(&[]));
    }

    #[test]
    fn what_is_no_form_is_none() {
        for body in [
            "",
            "--x-y",
            "--x-y\r\n",
            "--x-y\r\nContent-Disposition: form-data; name=a\r\n\r\n1",
            "--x-yz\r\n\r\n\r\n--x-y--",
            "query=1",
        ] {
            assert_eq!(read(body), None, "{body:?}");
        }
        let many = "--x-y\r\na: b\r\n\r\n\r\n".repeat(300) + "--x-y--";
        assert_eq!(read(&many), None);
    }

    #[test]
    fn the_boundary_is_a_parameter() {
        for (parameters, expected) in [
            (" boundary=abc", Some("abc")),
            ("charset=utf-8; Boundary=\"a;b\"", Some("a;b")),
            ("", None),
            ("boundary=", None),
            ("boundary=\"a", None),
        ] {
            assert_eq!(boundary(parameters).as_deref(), expected, "{parameters}");
        }
    }
}
