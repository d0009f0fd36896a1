//! Tests of [`super`]: the protocol's examples, escapes, refusals, and lines that read back.

use proptest::prelude::*;

use super::*;
use crate::testing::{refusals, rows};

fn read(body: &str, precision: Precision) -> Batch {
    let mut batch = Batch::new();
    parse(body.as_bytes(), precision, &mut batch);
    batch
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_name() {
    let batch = read("\u{feff}air v=1\n", Precision::Guess);
    assert_eq!(rows(&batch), ["1 air_v 1"]);
}

#[test]
fn the_examples_of_the_protocol_are_read() {
    let batch = read(
        concat!(
            "weather,location=us-midwest temperature=82 1465839830100400200\n",
            "weather,location=us-midwest temperature=82,humidity=71i 1465839830100400200\n",
            "weather temperature=82\n",
            "# a comment\n\n",
            "weather,location=us\\,midwest temperature=82 1465839830100400200\r\n",
            "weather,location=us-midwest temp\\=rature=82 1465839830100400200\n",
            "weather,location\\ place=us-midwest temperature=82 1465839830100400200\n",
            "wea\\,ther,location=us-midwest temperature=82 1465839830100400200\n",
            "wea\\ ther,location=us-midwest value=1e3\n",
            "air,a=1 x=t,y=F,z=18446744073709551615u,w=-9i\n",
            "\"m\",\"t\"=\"v w\" value=1\n",
            "m,t=v\\\\,u=w\\x value=.5\n",
        ),
        Precision::Nanoseconds,
    );
    assert_eq!(
        rows(&batch),
        [
            "1 weather_temperature{location=\"us-midwest\"} 82 @1465839830100",
            "2 weather_temperature{location=\"us-midwest\"} 82 @1465839830100",
            "2 weather_humidity{location=\"us-midwest\"} 71 @1465839830100",
            "3 weather_temperature 82",
            "6 weather_temperature{location=\"us,midwest\"} 82 @1465839830100",
            "7 {\"weather_temp=rature\",location=\"us-midwest\"} 82 @1465839830100",
            "8 weather_temperature{\"location place\"=\"us-midwest\"} 82 @1465839830100",
            "9 {\"wea,ther_temperature\",location=\"us-midwest\"} 82 @1465839830100",
            "10 {\"wea ther\",location=\"us-midwest\"} 1000",
            "11 air_x{a=\"1\"} 1",
            "11 air_y{a=\"1\"} 0",
            "11 air_z{a=\"1\"} 18446744073709552000",
            "11 air_w{a=\"1\"} -9",
            "13 m{t=\"v\\\\\\\\\",u=\"w\\\\x\"} 0.5",
        ]
    );
    assert_eq!(
        refusals(&batch),
        ["12 column 15: a timestamp as a whole number expected, found 'v'"]
    );
}

#[test]
fn strings_are_refused_and_their_neighbours_taken() {
    let batch = read(
        "m,t=v a=\"x, y=1 \\\" z\",b=2,c=\"\",d=3i 5\nn only=\"text\"\nm a=\"open,b=1 5",
        Precision::Seconds,
    );
    assert_eq!(
        rows(&batch),
        ["1 m_b{t=\"v\"} 2 @5000", "1 m_d{t=\"v\"} 3 @5000"]
    );
    let string = |line, field| {
        format!("{line} field \"{field}\" is a string; only numbers and booleans are kept")
    };
    assert_eq!(
        refusals(&batch),
        [
            string(1, "a"),
            string(1, "c"),
            string(2, "only"),
            "3 a quoted text begins in this line and does not end".to_owned(),
        ]
    );
}

#[test]
fn a_bad_line_loses_only_itself_and_says_why() {
    for (line, reason) in [
        (
            "m",
            "column 2: a blank and `field=value` expected, found nothing more",
        ),
        (
            "m,t=v",
            "column 6: a blank and `field=value` expected, found nothing more",
        ),
        (
            "m ",
            "column 3: a blank and `field=value` expected, found nothing more",
        ),
        (",t=v a=1", "column 1: a measurement expected, found ','"),
        (
            "m,t a=1",
            "column 4: a tag as `key=value` expected, found nothing more",
        ),
        (
            "m,=v a=1",
            "column 3: a tag as `key=value` expected, found '='",
        ),
        ("m =1", "column 3: a field's name expected, found '='"),
        (
            "m a",
            "column 4: `=` and a field's value expected, found nothing more",
        ),
        (
            "m a=1,",
            "column 7: `=` and a field's value expected, found nothing more",
        ),
        ("m a=", "\"\" is not a number that can be kept"),
        ("m a=NaN", "\"NaN\" is not a number that can be kept"),
        ("m a=inf", "\"inf\" is not a number that can be kept"),
        ("m a=1x", "\"1x\" is not a number that can be kept"),
        ("m a=1.5i", "\"1.5i\" is not a number that can be kept"),
        ("m a=-1u", "\"-1u\" is not a number that can be kept"),
        ("m a=1e999", "\"1e999\" is not a number that can be kept"),
        (
            "m a=\"b\"c 5",
            "column 8: `,` or a blank expected, found 'c'",
        ),
        (
            "m a=1 5x",
            "column 7: a timestamp as a whole number expected, found '5'",
        ),
        (
            "m a=1 5 6",
            "column 7: a timestamp as a whole number expected, found '5'",
        ),
        ("m,t=1,t=2 a=1", "label \"t\" is there twice"),
    ] {
        let batch = read(&format!("f v=1\n{line}\nl v=2"), Precision::Nanoseconds);
        assert_eq!(rows(&batch), ["1 f_v 1", "3 l_v 2"], "{line}");
        assert_eq!(refusals(&batch), [format!("2 {reason}")], "{line}");
    }
}

#[test]
fn names_are_kept_as_they_were_sent() {
    let batch = read(
        "1m,2t=a,t\\ u=b 3f=1,größe=2,a\\ b=3\nm.x/y-z value=4\nm,t=,u=v value=5",
        Precision::Guess,
    );
    assert_eq!(
        rows(&batch),
        [
            "1 {\"1m_3f\",\"2t\"=\"a\",\"t u\"=\"b\"} 1",
            "1 {\"1m_größe\",\"2t\"=\"a\",\"t u\"=\"b\"} 2",
            "1 {\"1m_a b\",\"2t\"=\"a\",\"t u\"=\"b\"} 3",
            "2 m.x/y-z 4",
            "3 m{u=\"v\"} 5",
        ]
    );
}

/// What InfluxDB's own clients write: the text is passed over, and no line of it is a point.
#[test]
fn strings_may_have_line_breaks() {
    let batch = read(
        concat!(
            "applog,host=web1 message=\"failed for row:\ncpu_usage value=99999\nretrying\",duration_ms=12i 5\n",
            "a,t=\"q f=1,s=\"\\\"\n\\\\\",g=2 6\r\n",
            "b f=\"x\ny\"z,g=1\n",
            "c f=3\n",
            "d msg=\"never\nends v=1\n",
        ),
        Precision::Seconds,
    );
    assert_eq!(
        rows(&batch),
        [
            "1 applog_duration_ms{host=\"web1\"} 12 @5000",
            "4 a_f{t=\"\\\"q\"} 1 @6000",
            "4 a_g{t=\"\\\"q\"} 2 @6000",
            "8 c_f 3",
        ]
    );
    assert_eq!(
        refusals(&batch),
        [
            "1 field \"message\" is a string; only numbers and booleans are kept",
            "4 field \"s\" is a string; only numbers and booleans are kept",
            "6 column 10: `,` or a blank expected, found 'z'",
            "9 a quoted text begins in this line and does not end",
        ]
    );
}

fn escape(text: &str) -> String {
    text.replace(',', "\\,")
        .replace('=', "\\=")
        .replace(' ', "\\ ")
}

proptest! {
    /// A rendered line reads back: tags byte for byte, values bit for bit, the time cut to ms.
    #[test]
    fn rendered_lines_read_back(
        measurement in "[a-z][a-z0-9_]{0,8}",
        tags in prop::collection::btree_map("[a-z][a-z0-9_]{0,5}", "[^\\\\\r\n\t]{1,10}", 0..5),
        fields in prop::collection::btree_map("f[a-z0-9_]{0,5}", any::<f64>(), 1..4),
        ns in any::<i64>(),
    ) {
        let mut line = measurement.clone();
        for (key, value) in &tags {
            line += &format!(",{key}={}", escape(value));
        }
        let written: Vec<_> = fields.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
        line += &format!(" {} {ns}", written.join(","));
        let batch = read(&line, Precision::Nanoseconds);
        let finite: Vec<_> = fields.iter().filter(|(_, value)| value.is_finite()).collect();
        prop_assert_eq!(batch.rows().len(), finite.len());
        prop_assert_eq!(batch.refused_total() as usize, fields.len() - finite.len());
        for (row, (field, value)) in batch.rows().iter().zip(finite) {
            let key = batch.key(row);
            prop_assert_eq!(key.name(), format!("{measurement}_{field}"));
            let read: Vec<_> = key.labels().collect();
            let expected: Vec<_> = tags.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            prop_assert_eq!(read, expected);
            prop_assert_eq!(row.value.to_bits(), value.to_bits());
            prop_assert_eq!(row.at_ms, ns.div_euclid(1_000_000));
        }
    }

    #[test]
    fn any_text_is_taken_or_refused(body in "([a1=, \"\\\\\t-]|\n|i|u|é|#|value){0,60}") {
        read(&body, Precision::Guess);
    }

    #[test]
    fn any_bytes_are_taken_or_refused(body in prop::collection::vec(any::<u8>(), 0..200)) {
        parse(&body, Precision::Guess, &mut Batch::new());
    }
}
