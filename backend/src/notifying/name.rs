//! A tenant's name as the name of a file, on file systems too that know no difference between `A`
//! and `a`.

/// `t.shop` for `shop`; in hexadecimal digits where there is more than small letters in it.
#[must_use]
pub(super) fn document_of(tenant: &str) -> String {
    let is_plain = tenant
        .bytes()
        .all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'));
    if is_plain {
        return format!("t.{tenant}");
    }
    let digits: String = tenant.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("x.{digits}")
}

/// The tenant of such a name.
pub(super) fn tenant_of(document: &str) -> Option<String> {
    if let Some(tenant) = document.strip_prefix("t.") {
        return Some(tenant.to_owned());
    }
    let digits = document.strip_prefix("x.")?;
    let bytes = digits.as_bytes().chunks(2).map(|pair| {
        let pair = std::str::from_utf8(pair).ok()?;
        u8::from_str_radix(pair, 16).ok()
    });
    String::from_utf8(bytes.collect::<Option<Vec<u8>>>()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        for tenant in ["shop", "Shop", "Ünique", ""] {
            assert_eq!(tenant_of(&document_of(tenant)).as_deref(), Some(tenant));
        }
        assert_eq!(tenant_of("x.5"), Some("\u{5}".to_owned()));
        assert_eq!(tenant_of("y.61"), None);
        assert_eq!(document_of("shop"), "t.shop");
        assert_eq!(document_of("Shop"), "x.53686f70");
        assert_ne!(document_of("53686f70"), document_of("Shop"));
    }
}
