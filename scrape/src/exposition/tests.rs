//! What bodies become.

use super::*;

fn target() -> LabelSet {
    LabelSet::from_iter([("instance", "a:9100"), ("job", "node")])
}

/// Rows as text with their times, or why there are none.
fn rows(body: &str, content_type: &str, shape: &Shape) -> Result<Vec<String>, String> {
    let mut buffers = Buffers::default();
    read(
        body.as_bytes(),
        content_type,
        &target(),
        shape,
        1000,
        &mut buffers,
    )
    .map_err(|(_, why)| why)?;
    let rows = buffers.rows.rows();
    Ok(rows
        .iter()
        .map(|row| format!("{} {} @{}", buffers.rows.key(row), row.value, row.at_ms))
        .collect())
}

fn shape() -> Shape {
    Shape {
        honor_timestamps: true,
        ..Shape::default()
    }
}

fn rules(json: &str) -> Vec<Rule> {
    serde_json::from_str(json).expect("rules")
}

#[test]
fn the_targets_labels_are_added() {
    let body = "a 1\nb{zone=\"x\",host=\"y\"} 2 500\n";
    assert_eq!(
        rows(body, "text/plain", &shape()),
        Ok(vec![
            r#"a{instance="a:9100",job="node"} 1 @1000"#.to_owned(),
            r#"b{host="y",instance="a:9100",job="node",zone="x"} 2 @500"#.to_owned(),
        ])
    );
    let ours = Shape::default();
    assert_eq!(
        rows("b 2 500\n", "text/plain", &ours),
        Ok(vec![
            r#"b{instance="a:9100",job="node"} 2 @1000"#.to_owned()
        ])
    );
}

#[test]
fn whose_label_it_is() {
    let body = r#"a{job="own",exported_job="too",instance="b"} 1"#;
    assert_eq!(
        rows(body, "", &shape()),
        Ok(vec![
            r#"a{exported_exported_job="own",exported_instance="b",exported_job="too",instance="a:9100",job="node"} 1 @1000"#.to_owned()
        ])
    );
    let honest = Shape {
        honor_labels: true,
        ..shape()
    };
    assert_eq!(
        rows(body, "", &honest),
        Ok(vec![
            r#"a{exported_job="too",instance="b",job="own"} 1 @1000"#.to_owned()
        ])
    );
}

/// The target says that a series has no such label, as what is federated or pushed elsewhere does.
#[test]
fn an_honoured_label_may_be_empty() {
    let honest = Shape {
        honor_labels: true,
        ..shape()
    };
    let body = "a{instance=\"\"} 1\nb{x=\"\",instance=\"\",job=\"\",instance=\"\"} 2\nc{x=\"y\"} 3\nd{ job = \"\" , x=\"y\"} 4\n";
    let told = Ok([
        r#"a{job="node"} 1 @1000"#,
        "b 2 @1000",
        r#"c{instance="a:9100",job="node",x="y"} 3 @1000"#,
        r#"d{instance="a:9100",x="y"} 4 @1000"#,
    ]
    .map(str::to_owned)
    .to_vec());
    assert_eq!(rows(body, "", &honest), told);
    // rules see the label as one that is not there
    let rules = rules(r#"[{"source_labels":["instance"],"regex":"","action":"keep"}]"#);
    let kept = rows(body, "", &Shape { rules, ..honest });
    assert_eq!(kept.map(|rows| rows.len()), Ok(2));
    // a line that is not taken leaves nothing to the next one
    let long = "v".repeat(1025);
    let body = format!("a{{instance=\"\",x=\"{long}\"}} 1\nb 2\n");
    let honest = Shape {
        honor_labels: true,
        ..shape()
    };
    let next = Ok(vec![
        r#"b{instance="a:9100",job="node"} 2 @1000"#.to_owned(),
    ]);
    assert_eq!(rows(&body, "", &honest), next);
    // whose labels are not honoured has nothing to say of ours
    assert_eq!(
        rows("a{instance=\"\"} 1\n", "", &shape()),
        Ok(vec![
            r#"a{instance="a:9100",job="node"} 1 @1000"#.to_owned()
        ])
    );
}

#[test]
fn samples_are_relabelled() {
    let shape = Shape {
        rules: rules(
            r#"[{"source_labels":["__name__"],"regex":"go_.*","action":"drop"},
                {"source_labels":["__name__","code"],"regex":"(.*);2..","target_label":"__name__","replacement":"${1}_ok"},
                {"regex":"code","action":"labeldrop"}]"#,
        ),
        ..shape()
    };
    let body = "go_threads 7\nrequests{code=\"204\"} 1\nrequests{code=\"500\"} 2\n";
    assert_eq!(
        rows(body, "", &shape),
        Ok(vec![
            r#"requests_ok{instance="a:9100",job="node"} 1 @1000"#.to_owned(),
            r#"requests{instance="a:9100",job="node"} 2 @1000"#.to_owned(),
        ])
    );
}

#[test]
fn of_a_series_that_is_told_twice_the_first_sample_holds() {
    let body = "a{x=\"1\"} 1\nb 7\na{x=\"1\"} 2\na{x=\"2\"} 3\nb 8 500\nb 9 500\nb 7\n";
    let first = vec![
        r#"a{instance="a:9100",job="node",x="1"} 1 @1000"#.to_owned(),
        r#"b{instance="a:9100",job="node"} 7 @1000"#.to_owned(),
        r#"a{instance="a:9100",job="node",x="2"} 3 @1000"#.to_owned(),
        r#"b{instance="a:9100",job="node"} 8 @500"#.to_owned(),
    ];
    assert_eq!(rows(body, "", &shape()), Ok(first));
    // Also where relabelling made them one, and they count all the same.
    let shape = Shape {
        rules: rules(r#"[{"regex":"x","action":"labeldrop"}]"#),
        ..Shape::default()
    };
    assert_eq!(
        rows(body, "", &shape),
        Ok(vec![
            r#"a{instance="a:9100",job="node"} 1 @1000"#.to_owned(),
            r#"b{instance="a:9100",job="node"} 7 @1000"#.to_owned(),
        ])
    );
    let mut buffers = Buffers::default();
    for _ in 0..2 {
        let counts = read(body.as_bytes(), "", &target(), &shape, 0, &mut buffers);
        assert_eq!(
            counts.map(|counts| (counts.scraped, counts.kept)),
            Ok((7, 7))
        );
        assert_eq!(buffers.rows.rows().len(), 2);
    }
}

#[test]
fn limits_cost_the_whole_scrape() {
    let body = "a{x=\"yyyy\"} 1\nb 2\n";
    type Limit = fn(&mut Shape);
    let limits: [(Limit, &str); 4] = [
        (|shape| shape.sample_limit = 1, "sample_limit"),
        (|shape| shape.label_limit = 3, "label_limit"),
        (
            |shape| shape.name_length_limit = 7,
            "label_name_length_limit",
        ),
        (
            |shape| shape.value_length_limit = 5,
            "label_value_length_limit",
        ),
    ];
    for (limit, name) in limits {
        let mut shape = shape();
        limit(&mut shape);
        let why = rows(body, "", &shape).expect_err(name);
        assert!(why.contains(name), "{why}");
    }
    let roomy = Shape {
        sample_limit: 2,
        label_limit: 4,
        name_length_limit: 8,
        value_length_limit: 6,
        ..shape()
    };
    assert_eq!(rows(body, "", &roomy).expect("within").len(), 2);
}

#[test]
fn what_is_dropped_does_not_count_for_the_limit() {
    let shape = Shape {
        rules: rules(r#"[{"source_labels":["__name__"],"regex":"b","action":"drop"}]"#),
        sample_limit: 1,
        ..shape()
    };
    let mut buffers = Buffers::default();
    let counts = read(b"a 1\nb 2\n", "", &target(), &shape, 0, &mut buffers);
    assert_eq!(
        counts,
        Ok(Counts {
            scraped: 2,
            kept: 1,
        })
    );
}

#[test]
fn a_mistake_costs_the_scrape_and_a_long_label_only_its_sample() {
    let why = rows("a 1\nb two\n", "", &shape()).expect_err("no number");
    assert!(why.starts_with("line 2: "), "{why}");
    let body = format!("a{{x=\"{}\"}} 1\nb 2\n", "y".repeat(2000));
    assert_eq!(rows(&body, "", &shape()).expect("the rest").len(), 1);
}

/// What is longer than anything that is stored is a sample of the target's, and is left out alone:
/// also where it is so with the target's labels or by a rule.
#[test]
fn what_is_too_long_counts_and_is_kept_with_its_reason() {
    let labels = |count: usize| {
        let all: Vec<_> = (0..count).map(|at| format!("l{at:02}=\"v\"")).collect();
        all.join(",")
    };
    let body = format!(
        "ok 1\n{}_ 2\na{{{}}} 3\nb{{{}=\"v\"}} 4\nc{{x=\"{}\"}} 5\nd{{{}}} 6\ne{{r=\"s\"}} 7\nf 8\n",
        "n".repeat(200),
        labels(41),
        "l".repeat(129),
        "v".repeat(1025),
        labels(39),
    );
    let shape = Shape {
        rules: rules(&format!(
            r#"[{{"source_labels":["r"],"regex":"s","target_label":"r","replacement":"{}"}}]"#,
            "w".repeat(1025)
        )),
        ..shape()
    };
    let mut buffers = Buffers::default();
    let counts = read(body.as_bytes(), "", &target(), &shape, 0, &mut buffers);
    let expected = Counts {
        scraped: 8,
        kept: 4,
    };
    assert_eq!(counts, Ok(expected));
    assert_eq!(buffers.rows.rows().len(), 2);
    assert_eq!(buffers.rows.refused_total(), 6);
    let mut lines: Vec<_> = buffers.rows.refused().iter().map(|one| one.line).collect();
    lines.sort_unstable();
    assert_eq!(lines, [2, 3, 4, 5, 6, 7]);
}

/// As with Prometheus, what is past the limit is counted all the same.
#[test]
fn samples_past_the_limit_are_counted() {
    let body: String = (0..11).map(|at| format!("a{{x=\"{at}\"}} 1\n")).collect();
    let shape = Shape {
        sample_limit: 5,
        ..shape()
    };
    let mut buffers = Buffers::default();
    let read = read(body.as_bytes(), "", &target(), &shape, 0, &mut buffers);
    let (counts, why) = read.expect_err("too many");
    let expected = Counts {
        scraped: 11,
        kept: 11,
    };
    assert_eq!(counts, expected);
    assert!(why.contains("sample_limit"), "{why}");
}

#[test]
fn openmetrics_has_seconds_and_an_end() {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let body = "# TYPE a counter\na_total 3 1.5 # {trace=\"x\"} 1\na_created 0.25\n# EOF\n";
    assert_eq!(
        rows(body, TYPE, &shape()),
        Ok(vec![
            r#"a_total{instance="a:9100",job="node"} 3 @1500"#.to_owned(),
            r#"a_created{instance="a:9100",job="node"} 0.25 @1000"#.to_owned(),
        ])
    );
    let why = rows("a_total 3\n", TYPE, &shape()).expect_err("cut off");
    assert!(why.contains("# EOF"), "{why}");
}
