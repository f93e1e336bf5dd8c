//! The indexes are there, of our schema, and know what is stored.

use langgraph_checkpoint_redis::redis::FindingKind;
use langgraph_checkpoint_redis::{CheckpointSaverExt, ListOptions};

use super::{Ward, of_key};

#[tokio::test]
async fn an_index_that_is_missing_is_made() {
    let mut ward = Ward::without_ttl().await;
    for index in ["checkpoint", "checkpoint_write"] {
        ward.run(&["FT.DROPINDEX", index]).await;
        ward.cures(FindingKind::IndexMissing, index).await;
    }
    assert_eq!(ward.lists("t", "").await, ["3", "2", "1"]);
}

#[tokio::test]
async fn an_index_of_another_schema_is_rebuilt_if_asked() {
    let mut ward = Ward::without_ttl().await;
    for schema in [
        "$.thread_id AS thread_id TAG SEPARATOR ,",
        "$.thread_id AS thread_id NUMERIC",
        "$.other AS other TAG",
    ] {
        ward.run(&["FT.DROPINDEX", "checkpoint"]).await;
        let start = "FT.CREATE checkpoint ON JSON PREFIX 1 checkpoint: SCHEMA";
        let command: Vec<_> = start.split(' ').chain(schema.split(' ')).collect();
        ward.run(&command).await;
        let report = loop {
            let report = ward
                .saver
                .doctor(&Ward::options().with_fix(true))
                .await
                .unwrap();
            if !report.counts().contains_key(&FindingKind::IndexBusy) {
                break report;
            }
        };
        let [finding] = report.findings() else {
            panic!("{report}")
        };
        assert_eq!(
            (finding.kind, finding.fixed),
            (FindingKind::IndexDiffers, false)
        );
        assert!(finding.detail.contains("`thread_id`"), "{finding}");
        let options = Ward::options().with_rebuild_indexes(true);
        ward.cures_with(FindingKind::IndexDiffers, "checkpoint", &options)
            .await;
    }
    let all = ward
        .saver
        .list_all(None, ListOptions::default())
        .await
        .unwrap();
    assert_eq!(all.len(), 12);
}

#[tokio::test]
async fn an_index_that_forgot_what_is_stored_is_found_and_made_again() {
    for family in ["checkpoint", "checkpoint_write"] {
        let mut ward = Ward::without_ttl().await;
        // It is said to be there, and does not know what was stored before it.
        ward.run(&["FT.DROPINDEX", family]).await;
        let schema =
            "SKIPINITIALSCAN SCHEMA $.thread_id AS thread_id TAG SEPARATOR \u{1} CASESENSITIVE";
        let mut create = redis::cmd("FT.CREATE");
        create.arg(&[family, "ON", "JSON", "PREFIX", "1", &format!("{family}:")]);
        let _: redis::Value = create
            .arg(schema.split(' ').collect::<Vec<_>>())
            .query_async(&mut ward.server.client)
            .await
            .unwrap();
        let report = ward.saver.doctor(&Ward::options()).await.unwrap();
        let found = of_key(&report, family);
        assert!(
            found.contains(&(FindingKind::IndexIncomplete, false)),
            "{report}"
        );
        assert!(
            report.to_string().contains("it lacks 12 of 12 documents"),
            "{report}"
        );
        let fixed = ward
            .saver
            .doctor(&Ward::options().with_fix(true))
            .await
            .unwrap();
        let found = of_key(&fixed, family);
        assert!(
            found.contains(&(FindingKind::IndexIncomplete, true)),
            "{fixed}"
        );
        let after = ward.saver.doctor(&Ward::options()).await.unwrap();
        assert!(after.is_healthy(), "{after}");
    }
    // As after a search on another database.
    let ward = Ward::without_ttl().await;
    let url = format!("{}/9", ward.server.redis.url());
    let mut elsewhere = redis::Client::open(url)
        .unwrap()
        .get_multiplexed_async_connection()
        .await
        .unwrap();
    let _: redis::Value = redis::cmd("FT.SEARCH")
        .arg(&["checkpoint", "*"])
        .query_async(&mut elsewhere)
        .await
        .unwrap();
    ward.cures(FindingKind::IndexIncomplete, "checkpoint").await;
    let all = ward.saver.list_all(None, ListOptions::default()).await;
    assert_eq!(all.unwrap().len(), 12);
}
