//! The readers' steps.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt};
use langgraph_checkpoint_redis::{CheckpointSaver, ListOptions, MetadataFilter};
use rand::{random_range, random_ratio};

use super::players::Race;
use super::world::{self, Fate, Place, SNAPSHOT, TASKS, id, whole_history};

impl Race {
    /// One step of a reader.
    pub async fn read(&self) {
        match random_range(0..100) {
            0..25 => self.read_one().await,
            25..45 => self.read_newest().await,
            45..70 => self.read_page().await,
            70..78 => self.read_filtered().await,
            78..84 => self.read_over_all().await,
            84..94 => self.read_history().await,
            94..97 => self.read_threads().await,
            _ => {
                // Streams that nobody reads to their end.
                let mut listed = self.saver.list(None, ListOptions::default());
                let _ = self
                    .once("list", async { listed.next().await.transpose() })
                    .await;
                let mut threads = self.saver.threads("");
                let _ = self
                    .once("threads", async { threads.next().await.transpose() })
                    .await;
            }
        }
    }

    fn any(&self) -> &Place {
        &self.places[random_range(0..self.places.len())]
    }

    fn is_kept(place: &Place) -> bool {
        matches!(place.fate, Fate::Kept | Fate::Contested | Fate::Frozen)
    }

    async fn read_one(&self) {
        let place = self.any();
        let number = place.tried();
        let before = place.tasks_of(number);
        let named = place.named(number);
        let Ok(tuple) = self.once("get_tuple", self.saver.get_tuple(&named)).await else {
            return;
        };
        let whole = tuple.and_then(|tuple| self.check("get_tuple", place, &tuple));
        if let (true, Some(before)) = (Self::is_kept(place), before) {
            let tasks = whole.map(|whole| whole.tasks);
            self.check_kept("get_tuple", place, number, before, tasks);
        }
    }

    async fn read_newest(&self) {
        let place = self.any();
        let before = place.greatest();
        let config = place.config();
        let Ok(tuple) = self.once("get_tuple", self.saver.get_tuple(&config)).await else {
            return;
        };
        let whole = tuple.and_then(|tuple| self.check("the newest", place, &tuple));
        let number = whole.map(|whole| whole.origin.number);
        if Self::is_kept(place) && number < before {
            let (thread, space) = (place.thread, place.space);
            let what = format!("{thread:?} {space:?}: {number:?} after {before:?}");
            self.found("newest checkpoints that are not the newest", what);
        }
        if place.fate != Fate::Copied && number >= Some(place.count()) {
            let what = format!("{:?} {:?} {number:?}", place.thread, place.space);
            self.found("checkpoints that nobody put", what);
        }
    }

    async fn read_page(&self) {
        let place = self.any();
        let last = place.count().min(place.tried() + 1 + random_range(0..3));
        let limit = random_range(1..30);
        let mut options = ListOptions::default().with_limit(limit);
        let mut last_of_all = usize::MAX;
        if random_ratio(2, 3) {
            options = options.with_before(id(last));
            last_of_all = last.saturating_sub(1);
        }
        let before = place.acknowledged(0, last_of_all);
        let listed = self.saver.list(Some(&place.config()), options);
        let Ok(listed) = self.once("list", listed.try_collect::<Vec<_>>()).await else {
            return;
        };
        let mut found = BTreeMap::new();
        let mut numbers = Vec::new();
        for tuple in &listed {
            if let Some(whole) = self.check("list", place, tuple) {
                found.insert(whole.origin.number, whole.tasks);
                numbers.push(whole.origin.number);
            }
        }
        let (thread, space) = (place.thread, place.space);
        if !numbers.is_sorted_by(|one, other| one > other)
            || numbers.first().is_some_and(|first| *first > last_of_all)
        {
            let what = format!("{thread:?} {space:?} before {last_of_all}: {numbers:?}");
            self.found("lists in a wrong order", what);
        }
        if !Self::is_kept(place) {
            return;
        }
        // All that are greater than the last of a full page, and all if it is not full.
        let end = if listed.len() == limit {
            numbers.last().copied().unwrap_or(0)
        } else {
            0
        };
        for (number, tasks) in before.range(end..) {
            self.check_kept("list", place, *number, *tasks, found.get(number).copied());
        }
    }

    async fn read_filtered(&self) {
        let place = self.any();
        let number = place.tried();
        let before = place.tasks_of(number);
        let options = ListOptions::default()
            .with_filter(MetadataFilter::new().with("step", number).unwrap())
            .with_before(id(number + 5))
            .with_limit(1);
        let listed = self.saver.list(Some(&place.config()), options);
        let Ok(listed) = self.once("list", listed.try_collect::<Vec<_>>()).await else {
            return;
        };
        let found = listed
            .first()
            .and_then(|tuple| self.check("filtered", place, tuple));
        if found
            .as_ref()
            .is_some_and(|found| found.origin.number != number)
        {
            self.found(
                "lists that do not keep to their filter",
                format!("{found:?}"),
            );
        }
        if let (true, Some(before)) = (Self::is_kept(place), before) {
            let tasks = found.map(|found| found.tasks);
            self.check_kept("filtered", place, number, before, tasks);
        }
    }

    async fn read_over_all(&self) {
        let mut options = ListOptions::default().with_limit(20);
        if random_ratio(1, 2) {
            let place = self.any();
            options = options.with_before(id(place.tried()));
        }
        let listed = self.saver.list(None, options);
        let Ok(listed) = self
            .once("list over all", listed.try_collect::<Vec<_>>())
            .await
        else {
            return;
        };
        let mut seen = BTreeSet::new();
        for tuple in &listed {
            let of = tuple.config.thread_id.as_str();
            let space = tuple.config.namespace();
            let at = |place: &&Place| place.thread == of && place.space == space.as_str();
            if let Some(place) = self.places.iter().find(at) {
                self.check("list over all", place, tuple);
            } else if !world::is_known(of) {
                self.found("threads that nobody made", format!("{of:?} {space:?}"));
            }
            if !seen.insert((of, space.clone(), tuple.checkpoint.id())) {
                let what = format!("{of:?} {space:?} {}", tuple.checkpoint.id());
                self.found("checkpoints that are listed twice", what);
            }
        }
    }

    async fn read_history(&self) {
        let place = self.any();
        let number = place.tried();
        let first = (number.saturating_sub(1) / SNAPSHOT) * SNAPSHOT;
        let before = place.acknowledged(first, number);
        let (named, channels) = (place.named(number), ["d".to_owned(), "none".to_owned()]);
        let call = self.saver.delta_channel_history(&named, &channels);
        let Ok(mut history) = self.once("delta_channel_history", call).await else {
            return;
        };
        let history = history.remove("d").unwrap_or_default();
        let (thread, space) = (place.thread, place.space);
        let at = || format!("{thread:?} {space:?} {number}");
        let sources: &[&str] = match place.fate {
            Fate::Copied => &["frozen"],
            _ => &[],
        };
        let found = match whole_history((thread, space), sources, &history.writes) {
            Ok(found) => found,
            Err(what) => {
                self.found("histories that are not whole", format!("{}: {what}", at()));
                return;
            }
        };
        let seed: Option<Vec<usize>> = history.seed.and_then(|seed| seed.decode().ok());
        let is_complete = number > 0 && (first..=number).all(|n| before.contains_key(&n));
        if !Self::is_kept(place) || place.fate == Fate::Contested || !is_complete {
            return;
        }
        if seed.as_deref() != Some(&[first]) {
            let what = format!("{}: its seed is {seed:?}", at());
            self.found("histories that are not whole", what);
        }
        for (of, tasks) in before.range(..number) {
            for task in (0..TASKS).filter(|task| tasks & (1 << task) != 0) {
                if !found.contains(&(*of, task)) {
                    let what = format!("{}: task {task} of {of} is missing", at());
                    self.found("histories that lack writes", what);
                }
            }
        }
    }

    async fn read_threads(&self) {
        let before: Vec<_> = world::threads(Fate::Kept)
            .into_iter()
            .map(|thread| {
                let places = self.places.iter().filter(|at| at.thread == thread);
                (thread, places.map(Place::acknowledged_count).sum::<usize>())
            })
            .collect();
        let Ok(threads) = self
            .once("threads", self.saver.threads("").try_collect::<Vec<_>>())
            .await
        else {
            return;
        };
        let mut counts = BTreeMap::new();
        for summary in &threads {
            let of = summary.thread_id.as_str();
            if !world::is_known(of) {
                self.found("threads that nobody made", format!("{of:?}"));
            }
            let count = usize::try_from(summary.checkpoints).unwrap();
            if counts.insert(of, count).is_some() {
                self.found("threads that are listed twice", format!("{of:?}"));
            }
        }
        for (thread, least) in before {
            let found = counts.get(thread).copied().unwrap_or(0);
            if found < least {
                let what = format!("{thread:?} has {found} of {least}");
                self.found("threads with too few checkpoints", what);
            }
        }
    }
}
