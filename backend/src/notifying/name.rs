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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart() {
        assert_eq!(document_of("shop"), "t.shop");
        assert_eq!(document_of("Shop"), "x.53686f70");
        assert_ne!(document_of("53686f70"), document_of("Shop"));
    }
}
