//! Groups, by their paths, and what is pushed to them.

use proptest::prelude::*;

use super::*;
use crate::testing::rows;

fn grouping(path: &str) -> Grouping {
    Grouping::of_path(path).expect("a group")
}

fn read(path: &str, body: &str) -> Result<Vec<String>, String> {
    let mut batch = Batch::new();
    let encoding = Encoding::Text(Times::Milliseconds);
    let parsed = parse(encoding, body.as_bytes(), &grouping(path), &mut batch);
    match parsed {
        Ok(()) => Ok(rows(&batch)),
        Err(error) => {
            assert!(batch.is_empty());
            Err(error.to_string())
        }
    }
}

#[test]
fn a_path_names_a_group() {
    for (path, labels) in [
        ("job/a", vec![("job", "a")]),
        (
            "job/some%20job/instance/h%2F1",
            vec![("instance", "h/1"), ("job", "some job")],
        ),
        (
            "job@base64/YS9i/path@base64/L3Zhci90bXA",
            vec![("job", "a/b"), ("path", "/var/tmp")],
        ),
        (
            "job@base64/YWI=/first_label/=/empty@base64/=",
            vec![("empty", ""), ("first_label", "="), ("job", "ab")],
        ),
        ("job/+/a/b", vec![("a", "b"), ("job", "+")]),
    ] {
        assert_eq!(
            grouping(path).labels().collect::<Vec<_>>(),
            labels,
            "{path}"
        );
    }
}

#[test]
fn what_names_no_group_says_why() {
    for (path, why) in [
        ("job", "the path has a label without a value"),
        ("job/a/b", "the path has a label without a value"),
        ("job/", "the job's name is empty"),
        ("job@base64/=", "the job's name is empty"),
        ("instance/a", "the path's first label must be `job`"),
        ("job/a/__name__/b", "it stands for the metric's name"),
        ("job/a/__x/b", "is no name of a label"),
        ("job/a/b%20c/d", "is no name of a label"),
        ("job/a/b/c/b/d", "label \"b\" is there twice"),
        ("job/a/job/b", "label \"job\" is there twice"),
        ("job@base64/%%%", "a value is not base64 of UTF-8"),
        ("job@base64/_w", "a value is not base64 of UTF-8"),
        ("job/%ff", "the path is not UTF-8"),
    ] {
        let wrong = Grouping::of_path(path).expect_err(path);
        assert!(wrong.contains(why), "{path}: {wrong}");
    }
    let long = format!("job/{}", "a".repeat(LABEL_VALUE_BYTES_MAX + 1));
    assert!(Grouping::of_path(&long).is_err());
    let many: String = (0..=LABELS_MAX).map(|at| format!("/l{at}/a")).collect();
    assert!(Grouping::of_path(&format!("job/a{many}")).is_err());
}

#[test]
fn labels_of_the_path_beat_those_of_the_body() {
    assert_eq!(
        read(
            "job/batch/instance/i",
            "# TYPE hits counter\nhits{job=\"other\",code=\"200\"} 3\nleft{instance=\"x\"} 1\n\
             push_time_seconds 5\n",
        ),
        Ok(vec![
            "2 hits{code=\"200\",instance=\"i\",job=\"batch\"} 3".to_owned(),
            "3 left{instance=\"i\",job=\"batch\"} 1".to_owned(),
        ])
    );
    // One that is empty takes the body's away.
    assert_eq!(
        read("job/batch/instance@base64/=", "a{instance=\"x\"} 1\n"),
        Ok(vec!["1 a{job=\"batch\"} 1".to_owned()])
    );
    assert_eq!(read("job/batch", ""), Ok(Vec::new()));
}

#[test]
fn one_wrong_line_refuses_all() {
    for (body, why) in [
        (
            "good 1\nbad x\n",
            "line 2: \"x\" is not a number that can be kept",
        ),
        (
            "good 1\nold 1 1000\n",
            "line 2: what is pushed must have no timestamp",
        ),
        (
            "a{b=\"c\",b=\"d\"} 1\n",
            "line 1: label \"b\" is there twice",
        ),
    ] {
        let wrong = read("job/a", body).expect_err(body);
        assert!(wrong.contains(why), "{wrong}");
    }
}

#[test]
fn protobuf_is_told_by_its_type() {
    let protobuf = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; \
                    encoding=delimited";
    assert_eq!(Encoding::from_content_type(protobuf), Encoding::Protobuf);
    for text in [
        "",
        "text/plain; version=0.0.4",
        "application/x-www-form-urlencoded",
    ] {
        let encoding = Encoding::from_content_type(text);
        assert_eq!(encoding, Encoding::Text(Times::Milliseconds));
    }
}

proptest! {
    /// Whatever labels are, base64 and escapes name them.
    #[test]
    fn groups_come_back(
        job in "\\PC{1,20}",
        others in prop::collection::btree_map("[a-z][a-z0-9]{0,6}", "\\PC{0,20}", 0..4),
    ) {
        let mut path = format!("job@base64/{}", URL_SAFE_NO_PAD.encode(&job));
        let mut labels = vec![("job".to_owned(), job)];
        for (name, value) in others.into_iter().filter(|(name, _)| name != "job") {
            let escaped: String = value.bytes().map(|byte| format!("%{byte:02X}")).collect();
            path.push_str(&format!("/{name}/{escaped}"));
            labels.push((name, value));
        }
        labels.sort();
        prop_assert_eq!(grouping(&path).0, labels);
    }

    #[test]
    fn any_path_is_a_group_or_an_error(path in "(job(@base64)?)?[/a-z%=@0-9_]{0,40}") {
        if let Ok(grouping) = Grouping::of_path(&path) {
            prop_assert!(grouping.labels().any(|(name, job)| name == "job" && !job.is_empty()));
        }
    }
}
