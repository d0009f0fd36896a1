//! What servers share beside feeds.

use std::{collections::HashMap, sync::Arc, time::Duration};

use bytes::Bytes;
use pulseboard_bus::{
    Asked, Bus as _, FeedKey, Fence, Figure, Granted, Kind, NotReady, Partition, Put, Shelve,
    Shelved, Space, Spread, Step, Stepped,
    counts::Bucket,
    shelf::{Change, GONE_MAX, Thing},
};

use crate::{
    proxy::Proxy,
    support::{Recorder, RedisServer, Running, eventually, eventually_asked, has},
};

fn cluster(running: &Running) -> &pulseboard_bus::Cluster {
    running.bus.cluster().expect("it is shared")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn members_know_each_other_and_two_of_one_name_are_one_too_many() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let url = redis.url();
    let a = Running::connected(&url, "a").await;
    eventually("a is ready", || cluster(&a).readiness().is_ok()).await;
    let b = Running::connected(&url, "b").await;
    cluster(&b).say(|member| member.viewers = 7);
    eventually("a sees b and its viewers", || {
        let view = cluster(&a).view();
        view.live
            .iter()
            .any(|member| member.instance == "b" && member.viewers == 7)
    })
    .await;
    let twin = Running::connected(&url, "a").await;
    let taken = Err(NotReady::NameTaken("a".to_owned()));
    eventually("the twin is not ready", || {
        cluster(&twin).readiness() == taken
    })
    .await;
    assert_eq!(cluster(&a).readiness(), Ok(()));
    b.bus.leave().await;
    eventually("who leaves is gone at once", || {
        cluster(&a)
            .view()
            .live
            .iter()
            .all(|member| member.instance != "b")
    })
    .await;
    a.kill();
    eventually("who died makes room", || cluster(&twin).readiness().is_ok()).await;
    assert_eq!(cluster(&twin).view().live.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_partition_has_one_holder_and_leases_move_with_larger_tokens() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let url = redis.url();
    let mut all = Vec::new();
    for name in ["a", "b", "c"] {
        let running = Running::connected(&url, name).await;
        let work = running.bus.leases().work("alerts", Spread::Partitions);
        let one = running.bus.leases().work("sim", Spread::One);
        all.push((running, work, one));
    }
    eventually("64 partitions are shared out", || {
        let held: Vec<usize> = all.iter().map(|(_, work, _)| work.held().len()).collect();
        held.iter().sum::<usize>() == 64 && held.iter().all(|count| *count >= 20)
    })
    .await;
    let mut tokens: HashMap<Partition, u64> = HashMap::new();
    for (_, work, _) in &all {
        for partition in work.held() {
            let token = work.token(partition).expect("it is held");
            assert_eq!(tokens.insert(partition, token), None, "one holder");
        }
    }
    for partition in Partition::all() {
        for (work, is_leased) in [("alerts", true), ("another", false)] {
            let asked = cluster(&all[0].0).is_leased(work, partition).await;
            assert_eq!(asked.expect("asked"), is_leased, "{work} {partition:?}");
        }
    }
    let ones = all
        .iter()
        .filter(|(_, _, one)| one.token_of_one().is_some());
    assert_eq!(ones.count(), 1);
    let (dies, lost, _) = all.remove(0);
    let lost = lost.held();
    dies.kill();
    eventually("what it held is held by others", || {
        let held: usize = all.iter().map(|(_, work, _)| work.held().len()).sum();
        held == 64
    })
    .await;
    for partition in lost {
        let now = all.iter().find_map(|(_, work, _)| work.token(partition));
        assert!(now > tokens.get(&partition).copied(), "{partition:?}");
    }
    let (leaves, _, _) = all.remove(0);
    leaves.bus.leave().await;
    eventually("the last has all", || all[0].1.held().len() == 64).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn items_are_counted_once_whatever_becomes_of_connections() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let proxy = Proxy::before(redis.port).await;
    let (a, b) = (
        Running::connected(&proxy.url(), "a").await,
        Running::connected(&redis.url(), "b").await,
    );
    let tenant: Arc<str> = "tenant".into();
    for number in 0..600_i64 {
        for running in [&a, &b] {
            let counted = cluster(running).count(&tenant, "sale", 0.1, 60_000 + number, &[60]);
            assert_eq!(counted, Ok(()));
        }
        if number % 120 == 60 {
            proxy.drop_all();
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    eventually_asked("all are counted", || async {
        let totals = cluster(&b).totals(&tenant).await.expect("totals");
        totals.get("sale").is_some_and(|total| total.count == 1_200)
    })
    .await;
    let totals = cluster(&a).totals(&tenant).await.expect("totals");
    let sale = totals.get("sale").expect("it is counted");
    assert!((sale.sum - 120.0).abs() < 1e-6, "{sale:?}");
    assert_eq!(sale.last_ms, 60_599);
    let buckets = cluster(&a).buckets(&tenant, 60).await.expect("buckets");
    assert!(
        matches!(
            &*buckets,
            [Bucket {
                start: 60,
                count: 1_200,
                ..
            }]
        ),
        "{buckets:?}"
    );
    cluster(&b)
        .reset_counts(&tenant, &[60])
        .await
        .expect("a reset");
    assert!(
        cluster(&a)
            .totals(&tenant)
            .await
            .expect("totals")
            .is_empty()
    );
    assert!(
        cluster(&a)
            .buckets(&tenant, 60)
            .await
            .expect("buckets")
            .is_empty()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ticket_is_used_once_and_a_document_is_changed_by_who_has_read_it() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let url = redis.url();
    let (a, b) = (
        Running::connected(&url, "a").await,
        Running::connected(&url, "b").await,
    );
    let (a, b) = (cluster(&a), cluster(&b));
    let minute = Duration::from_secs(60);
    assert_eq!(
        a.keep_new(Space::Ticket, "d1", b"caller", minute).await,
        Ok(true)
    );
    assert_eq!(
        b.keep_new(Space::Ticket, "d1", b"other", minute).await,
        Ok(false)
    );
    let (one, other) = tokio::join!(a.take(Space::Ticket, "d1"), b.take(Space::Ticket, "d1"));
    let used: Vec<Bytes> = [one, other]
        .into_iter()
        .filter_map(|taken| taken.expect("Redis"))
        .collect();
    assert_eq!(used, ["caller"]);

    a.keep(Space::Session, "s1", b"grant", minute)
        .await
        .expect("kept");
    assert_eq!(b.look(Space::Session, "s1").await, Ok(Some("grant".into())));
    assert_eq!(b.forget(Space::Session, "s1").await, Ok(true));
    assert_eq!(a.look(Space::Session, "s1").await, Ok(None));
    a.keep(Space::Session, "s2", b"short", Duration::from_millis(30))
        .await
        .expect("kept");
    eventually_asked("it ends by itself", || async {
        b.look(Space::Session, "s2").await == Ok(None)
    })
    .await;

    let name = ("tenant", "threshold");
    assert_eq!(a.document("tenant", "threshold").await, Ok(None));
    assert_eq!(
        a.put_document(name, Some(0), b"80", None).await,
        Ok(Put::Done(1))
    );
    assert_eq!(
        b.put_document(name, Some(0), b"90", None).await,
        Ok(Put::Other(1))
    );
    assert_eq!(
        b.put_document(name, Some(1), b"90", None).await,
        Ok(Put::Done(2))
    );
    let document = a
        .document("tenant", "threshold")
        .await
        .expect("Redis")
        .expect("a document");
    assert_eq!((document.revision, &*document.bytes), (2, &b"90"[..]));

    let tokens = ("", "tokens");
    assert_eq!(
        a.put_entry(tokens, "t1", Some(b"x"), None, 2).await,
        Ok(Put::Done(1))
    );
    assert_eq!(
        b.put_entry(tokens, "t2", Some(b"y"), Some(0), 2).await,
        Ok(Put::Other(1))
    );
    assert_eq!(
        b.put_entry(tokens, "t2", Some(b"y"), Some(1), 2).await,
        Ok(Put::Done(2))
    );
    assert_eq!(
        b.put_entry(tokens, "t3", Some(b"z"), None, 2).await,
        Ok(Put::Full)
    );
    assert_eq!(
        b.put_entry(tokens, "t1", None, None, 2).await,
        Ok(Put::Done(3))
    );
    let table = a.table("", "tokens").await.expect("a table");
    assert_eq!(table.revision, 3);
    assert_eq!(
        table.entries,
        HashMap::from([("t2".to_owned(), "y".into())])
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_completes_a_moment_knows_it_and_figures_are_those_of_the_living() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let url = redis.url();
    let (a, b) = (
        Running::connected(&url, "a").await,
        Running::connected(&url, "b").await,
    );
    eventually("they know each other", || {
        cluster(&a).view().live.len() == 2 && cluster(&b).view().live.len() == 2
    })
    .await;
    let first = cluster(&a).report(1_000, b"cpu 1").await.expect("a report");
    assert_eq!((first.live, first.reports.len()), (2, 1));
    let second = cluster(&b)
        .report(1_000, b"cpu\n2")
        .await
        .expect("a report");
    assert_eq!((second.live, second.reports.len()), (2, 2));
    let of_b = second.reports.iter().find(|(who, _)| who.starts_with("b."));
    assert_eq!(of_b.map(|(_, what)| &**what), Some(&b"cpu\n2"[..]));
    let next = cluster(&b).report(2_000, b"cpu 3").await.expect("a report");
    assert_eq!(next.reports.len(), 1, "of that moment alone");

    let place = ("tenant", "");
    let presence = async |running: &Running, own: &[(&str, u64)]| {
        let figures = cluster(running).figures(Figure::Presence, place, own).await;
        figures.expect("figures").get("lobby").copied()
    };
    assert_eq!(presence(&a, &[("lobby", 3)]).await, Some(3));
    assert_eq!(presence(&b, &[("lobby", 4)]).await, Some(7));
    assert_eq!(presence(&a, &[("lobby", 0)]).await, Some(4));
    b.kill();
    eventually_asked("ghosts go with who died", || async {
        presence(&a, &[]).await.is_none()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_step_is_taken_once_told_and_noted_and_not_by_who_slept() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let url = redis.url();
    let (a, b) = (
        Running::connected(&url, "a").await,
        Running::connected(&url, "b").await,
    );
    let feed = FeedKey::new(Kind::Alert, "tenant", "");
    let sink = Recorder::new();
    let _keep = b.bus.subscribe(feed.clone(), sink.clone());
    let step = |token, from, to, word: &'static str| Step {
        token,
        key: "cpu/host",
        from,
        to,
        bytes: b"since 1",
        tell: Some((&feed, word.as_bytes())),
        send: Some(word.as_bytes()),
    };
    let (at_a, at_b) = (cluster(&a), cluster(&b));
    assert_eq!(
        at_a.step("tenant", step(7, "", "firing", "fires")).await,
        Ok(Stepped::Done)
    );
    let other = Ok(Stepped::Other("firing".to_owned()));
    assert_eq!(
        at_a.step("tenant", step(7, "", "firing", "fires")).await,
        other,
        "once"
    );
    assert_eq!(
        at_b.step("tenant", step(9, "firing", "over", "ended"))
            .await,
        Ok(Stepped::Done)
    );
    let slept = at_a
        .step("tenant", step(7, "over", "firing", "again"))
        .await;
    assert_eq!(slept, Ok(Stepped::Outdated));
    let known = at_a.incidents("tenant").await.expect("states");
    assert_eq!(known.len(), 1);
    let incident = known.get("cpu/host").expect("it is known");
    assert_eq!(
        (&*incident.state, &*incident.bytes),
        ("over", &b"since 1"[..])
    );
    eventually("both are told", || sink.frames() == ["fires", "ended"]).await;
    let outgoing = at_b.outgoing("tenant", 10).await.expect("notifications");
    let texts: Vec<&[u8]> = outgoing.iter().map(|(_, bytes)| &**bytes).collect();
    assert_eq!(texts, [b"fires", b"ended"]);
    at_b.sent("tenant", &[outgoing[0].0.clone()])
        .await
        .expect("noted");
    assert_eq!(
        at_a.outgoing("tenant", 10).await.map(|left| left.len()),
        Ok(1)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn limits_of_all_leave_what_the_living_have_not_taken() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let url = redis.url();
    let (a, b) = (
        Running::connected(&url, "a").await,
        Running::connected(&url, "b").await,
    );
    eventually("they know each other", || {
        cluster(&a).view().live.len() == 2 && cluster(&b).view().live.len() == 2
    })
    .await;
    let figure = |count| [("t".to_owned(), count)];
    let told = cluster(&a).tell("limits", &figure(7)).await.expect("Redis");
    assert_eq!((told.members, told.sums.len()), (1, 0));
    let heard = cluster(&b).tell("limits", &figure(2)).await.expect("Redis");
    assert_eq!(heard.sums, HashMap::from(figure(7)));
    let other = cluster(&b).tell("errors", &[]).await.expect("Redis");
    assert!(other.sums.is_empty(), "each kind is for itself");
    let ask = |has, wants| {
        let (name, max) = ("t".to_owned(), 12);
        [Asked {
            name,
            has,
            wants,
            max,
        }]
    };
    let granted = |others, taken| Ok(vec![Granted { others, taken }]);
    assert_eq!(
        cluster(&b).ask_for("limits", &ask(2, 9)).await,
        granted(7, 3)
    );
    assert_eq!(
        cluster(&a).ask_for("limits", &ask(7, 1)).await,
        granted(5, 0)
    );
    // What was asked for counts until figures are said again.
    let heard = cluster(&a).tell("limits", &figure(7)).await.expect("Redis");
    assert_eq!(heard.sums, HashMap::from(figure(5)));
    b.kill();
    eventually_asked("who died has nothing", || async {
        let heard = cluster(&a).tell("limits", &figure(7)).await;
        heard.is_ok_and(|heard| heard.members == 0 && heard.sums.is_empty())
    })
    .await;
    assert_eq!(
        cluster(&a).ask_for("limits", &ask(7, 9)).await,
        granted(0, 5)
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_begun_once_and_of_a_list_the_oldest_go() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let a = Running::connected(&redis.url(), "a").await;
    let a = cluster(&a);
    let table = ("", "begun");
    let entries = [("t1".to_owned(), b"x".to_vec())];
    assert_eq!(a.table_revision("", "begun").await, Ok(0));
    assert_eq!(a.begin_table(table, &entries).await, Ok(true));
    assert_eq!(a.begin_table(table, &[]).await, Ok(false));
    assert_eq!(a.table_revision("", "begun").await, Ok(1));
    assert_eq!(a.begin_table(("", "empty"), &[]).await, Ok(true));
    assert_eq!(
        a.begin_table(("", "empty"), &entries).await,
        Ok(false),
        "it was begun with nothing"
    );

    let minute = Duration::from_secs(60);
    let keep = async |name: &str| {
        let kept = a.keep_of((Space::Session, name), b"grant", minute, ("token", 2));
        kept.await.expect("Redis")
    };
    assert!(keep("s1").await.is_empty() && keep("s2").await.is_empty());
    assert_eq!(keep("s3").await, ["s1"]);
    // One that ended makes room.
    let gone = ["s2".to_owned()];
    assert_eq!(a.forget_all(Space::Session, &gone).await, Ok(()));
    assert!(keep("s4").await.is_empty());
    let all = ["s1", "s2", "s3", "s4"].map(str::to_owned);
    let found = a.look_all(Space::Session, &all).await.expect("Redis");
    let found: Vec<bool> = found.iter().map(Option::is_some).collect();
    assert_eq!(found, [false, false, true, true]);

    let fields = [("a\0x".to_owned(), b"1".to_vec())];
    assert_eq!(a.put_fields("tenant", "items", &fields).await, Ok(()));
    let fields = a.fields("tenant", "items").await.expect("Redis");
    assert_eq!(fields, [("a\0x".to_owned(), Bytes::from("1"))]);
}

/// A change by anybody.
fn change<'a>(name: &'a str, change: Change<'a>, read: Option<u64>) -> Shelve<'a> {
    Shelve {
        thing: Some((name, change)),
        read,
        fence: None,
        once: None,
        tell: &[],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shelf_has_revisions_and_tells_what_changed() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let (a, b) = (
        Running::connected(&redis.url(), "a").await,
        Running::connected(&redis.url(), "b").await,
    );
    let (a, b) = (cluster(&a), cluster(&b));
    let put = async |of: &pulseboard_bus::Cluster, shelve: Shelve<'_>| {
        of.shelve("docs", shelve).await.expect("asked")
    };
    let empty = a.shelf("docs", 0).await.expect("asked");
    assert_eq!((empty.newest, empty.things.len()), (0, 0));
    let Shelved::Done(first) = put(a, change("x", Change::Set(b"1"), Some(0))).await else {
        panic!("there was none");
    };
    // who comes late changes nothing
    let late = put(b, change("x", Change::Set(b"2"), Some(0))).await;
    assert_eq!(late, Shelved::Other(first));
    let Shelved::Done(second) = put(b, change("x", Change::Set(b"2"), Some(first))).await else {
        panic!("it was read");
    };
    assert!(second > first);
    assert!(matches!(
        put(a, change("y", Change::Set(b"3"), None)).await,
        Shelved::Done(_)
    ));
    let changed = a.shelf("docs", first).await.expect("asked");
    let names: Vec<&str> = changed.things.iter().map(|thing| &*thing.name).collect();
    assert_eq!(names, ["x", "y"]);
    assert_eq!(changed.things[0].bytes.as_deref(), Some(&b"2"[..]));
    assert_eq!(changed.things[1].revision, changed.newest);
    // what is gone is told, too; what is brought does not stand against what is newer
    let Shelved::Done(gone) = put(a, change("x", Change::Remove, Some(second))).await else {
        panic!("it was read");
    };
    let told = b.shelf("docs", changed.newest).await.expect("asked");
    assert_eq!(told.things.len(), 1);
    assert_eq!(
        (told.things[0].revision, &told.things[0].bytes),
        (gone, &None)
    );
    let brought = put(b, change("x", Change::Bring(b"2", second), None)).await;
    assert_eq!(brought, Shelved::Other(gone));
    // Who has read what is newer would not see it: it has a revision of its own.
    let brought = put(b, change("z", Change::Bring(b"9", first), None)).await;
    let told = a.shelf("docs", gone).await.expect("asked");
    assert_eq!(told.things.len(), 1, "{told:?}");
    assert_eq!(told.things[0].bytes.as_deref(), Some(&b"9"[..]));
    assert_eq!(brought, Shelved::Done(told.newest));
    // One that is newer than all keeps the one that it was given.
    let later = told.newest + 1_000;
    let brought = put(b, change("v", Change::Bring(b"8", later), None)).await;
    assert_eq!(brought, Shelved::Done(later));
    // What was removed and that lost is removed again, and not brought back by who missed it.
    let buried = put(a, change("w", Change::Bury(later + 5), None)).await;
    assert_eq!(buried, Shelved::Done(later + 5));
    let brought = put(b, change("w", Change::Bring(b"7", later + 4), None)).await;
    assert_eq!(brought, Shelved::Other(later + 5));
    let buried = put(a, change("v", Change::Bury(later + 6), None)).await;
    assert_eq!(buried, Shelved::Done(later + 6));
    let told = b.shelf("docs", later).await.expect("asked");
    let told: Vec<_> = told
        .things
        .iter()
        .map(|one| (&*one.name, &one.bytes))
        .collect();
    assert_eq!(told, [("w", &None), ("v", &None)]);
    // another shelf is another one
    assert_eq!(a.shelf("states", 0).await.expect("asked").newest, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_comes_with_an_old_token_is_refused_whole() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let (a, b) = (
        Running::connected(&redis.url(), "a").await,
        Running::connected(&redis.url(), "b").await,
    );
    let (viewers, said) = (
        FeedKey::own(Kind::Alert),
        FeedKey::new(Kind::Alert, "", "said"),
    );
    let (heard, other) = (Recorder::new(), Recorder::new());
    let _one = b
        .bus
        .subscribe(viewers.clone(), Arc::clone(&heard) as Arc<_>);
    let _other = b.bus.subscribe(said.clone(), Arc::clone(&other) as Arc<_>);
    let fence = |token: u64| {
        Some(Fence {
            partition: Partition::of("shop"),
            token,
        })
    };
    let frame = |text: &'static str| Bytes::from_static(text.as_bytes());
    let tell = [(&viewers, frame("fires")), (&said, frame("more"))];
    let write = |token: u64, bytes: &'static [u8]| Shelve {
        thing: Some(("rules/shop", Change::Set(bytes))),
        read: None,
        fence: fence(token),
        once: None,
        tell: &tell,
    };
    let (of_a, of_b) = (cluster(&a), cluster(&b));
    let done = of_a.shelve("states", write(10, b"pending")).await;
    assert!(matches!(done.expect("asked"), Shelved::Done(_)));
    // The next holder shows its token before it reads; the one before it is done.
    let show = Shelve {
        thing: None,
        read: None,
        fence: fence(11),
        once: None,
        tell: &[],
    };
    assert!(matches!(
        of_b.shelve("states", show).await,
        Ok(Shelved::Done(_))
    ));
    let late = of_a.shelve("states", write(10, b"firing")).await;
    assert_eq!(late.expect("asked"), Shelved::Outdated);
    let known = of_b.shelf("states", 0).await.expect("asked");
    assert_eq!(known.things.len(), 1);
    assert_eq!(known.things[0].bytes.as_deref(), Some(&b"pending"[..]));
    // another partition's holder is another one
    let elsewhere = Shelve {
        fence: Some(Fence {
            partition: Partition::all()
                .find(|one| *one != Partition::of("shop"))
                .expect("64 of them"),
            token: 1,
        }),
        ..write(10, b"")
    };
    assert!(matches!(
        of_a.shelve("states", elsewhere).await,
        Ok(Shelved::Done(_))
    ));
    eventually("both feeds were told twice", || {
        heard.frames().len() == 2 && other.frames().len() == 2
    })
    .await;
}

/// Everything that changed on a shelf, what is gone among it.
async fn all_of(of: &pulseboard_bus::Cluster, shelf: &str) -> Vec<Thing> {
    let (mut all, mut after) = (Vec::new(), 0);
    loop {
        let read = of.shelf(shelf, after).await.expect("asked");
        all.extend(read.things);
        after = all.last().map_or(0, |last| last.revision);
        if after >= read.newest {
            return all;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_what_is_gone_the_newest_is_known_whatever_lies_there() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let a = Running::connected(&redis.url(), "a").await;
    let a = cluster(&a);
    // The oldest of all are there and stay.
    for number in 0..120 {
        let name = format!("stays-{number}");
        let put = a.shelve("docs", change(&name, Change::Set(b"x"), None));
        put.await.expect("asked");
    }
    let first = a.shelf("docs", 0).await.expect("asked").newest + 1;
    let numbers: Vec<u64> = (0..GONE_MAX as u64 + 300).collect();
    for some in numbers.chunks(500) {
        let buried = some.iter().map(async |number| {
            let name = format!("gone-{number}");
            let bury = change(&name, Change::Bury(first + number), None);
            a.shelve("docs", bury).await.expect("asked")
        });
        let done = futures_util::future::join_all(buried).await;
        assert!(done.iter().all(|one| matches!(one, Shelved::Done(_))));
    }
    let (there, gone): (Vec<Thing>, Vec<Thing>) = all_of(a, "docs")
        .await
        .into_iter()
        .partition(|one| one.bytes.is_some());
    assert_eq!(there.len(), 120);
    assert!(gone.len() <= GONE_MAX, "{} are known", gone.len());
    assert!(gone.len() > GONE_MAX - 10, "{} are known", gone.len());
    assert!(gone.iter().all(|one| one.name != "gone-0"));
    // What is no longer known may have been there: nobody brings it back.
    let bring = change("gone-0", Change::Bring(b"x", first), None);
    let brought = a.shelve("docs", bring).await.expect("asked");
    assert_eq!(brought, Shelved::Other(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_asked_for_again_is_told_once() {
    if !has("redis-server") {
        return;
    }
    let redis = RedisServer::start(&[]);
    let a = Running::connected(&redis.url(), "a").await;
    let alerts = FeedKey::own(Kind::Alert);
    let heard = Recorder::new();
    let _hears = a
        .bus
        .subscribe(alerts.clone(), Arc::clone(&heard) as Arc<_>);
    let write = async |text: &'static str, once: Option<u64>| {
        let tell = [(&alerts, Bytes::from_static(text.as_bytes()))];
        let shelve = Shelve {
            once,
            tell: &tell,
            ..change("rules/shop", Change::Set(text.as_bytes()), None)
        };
        cluster(&a).shelve("states", shelve).await.expect("asked")
    };
    let first = write("fires", Some(1)).await;
    // Whoever had no answer asks again, and somebody else meanwhile.
    let other = write("ends", Some(2)).await;
    assert_eq!(write("fires", Some(1)).await, first);
    assert_ne!(other, first);
    assert!(matches!(write("last", None).await, Shelved::Done(_)));
    eventually("the last is heard", || heard.frames().len() >= 3).await;
    assert_eq!(heard.frames(), ["fires", "ends", "last"]);
    let known = cluster(&a).shelf("states", 0).await.expect("asked");
    assert_eq!(known.things[0].bytes.as_deref(), Some(&b"last"[..]));
}
