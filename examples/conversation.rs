//! A conversation with an agent, kept in Redis: saved step by step, resumed by another process,
//! interrupted, rewound, forked, and left to expire.
//!
//! ```text
//! cargo run --example conversation
//! ```
//!
//! It uses the Redis of `REDIS_URL`, or starts one. Its keys have a prefix of their own, and its
//! thread is deleted in the end.

use std::error::Error;
use std::time::Duration;

use futures_util::TryStreamExt;
use langgraph_checkpoint_redis::{
    ChannelVersion, ChannelWrite, Checkpoint, CheckpointConfig, CheckpointId, CheckpointMetadata,
    CheckpointSaver, CheckpointSaverExt, CheckpointTuple, DeleteOptions, ListOptions, PutOptions,
    PutWritesOptions, RedisSaver, TaskId, TtlPolicy, TypedValue,
};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How long a thread is kept after it was last read or written.
const TTL: Duration = Duration::from_secs(3_600);

#[tokio::main]
async fn main() -> Outcome {
    let url = redis_modules::shared_url()?;
    let prefix = format!("conversation-{}", CheckpointId::now_ulid());
    let thread = CheckpointConfig::new("user:42")?;

    title("A conversation, saved step by step");
    let mut agent = Agent::start(url, &prefix, &thread).await?;
    agent
        .turn(
            "I would like to go to Lisbon in May.",
            "Lovely! For how many nights?",
        )
        .await?;
    agent.turn("Three.", "And what may the hotel cost?").await?;
    agent
        .turn(
            "140 euros a night at most.",
            "I found one with a view of the river.",
        )
        .await?;

    title("The process ends, with all it had in memory");
    drop(agent);
    println!(
        "  Another process starts and asks Redis for the thread {}.",
        thread.thread_id
    );
    let mut agent = Agent::start(url, &prefix, &thread).await?;
    agent.resume().await?;
    agent.show();

    title("An interrupt: the agent needs a yes");
    agent.hear("Book it, please.").await?;
    agent.interrupt("Book the hotel for 420 euros?").await?;
    println!("  The process ends while it waits. The next one finds the open question:");
    drop(agent);
    let mut agent = Agent::start(url, &prefix, &thread).await?;
    let question = agent.resume().await?.ok_or("the interrupt is gone")?;
    say("agent", &question);
    say("you", "Yes.");
    agent.answer("yes", "Booked. Have a good trip!").await?;

    title("A step back in time");
    let history = agent.history().await?;
    println!("  {} checkpoints, newest first:", history.len());
    for tuple in &history {
        println!("    {}", line(tuple)?);
    }
    let second_turn = history
        .iter()
        .find(|tuple| messages(&tuple.checkpoint).is_ok_and(|messages| messages.len() == 4))
        .ok_or("the second turn is gone")?;
    println!("  After the second turn it was:");
    agent.load(second_turn)?;
    agent.show();

    title("A fork: from there it goes another way");
    agent
        .turn(
            "Make it Porto, and no limit.",
            "Then I know a palace by the Douro.",
        )
        .await?;
    println!("  Both ways are in the thread; the newest is the fork:");
    for tuple in agent.history().await?.iter().take(4) {
        let parent = tuple
            .parent_config
            .as_ref()
            .and_then(|parent| parent.checkpoint_id.as_ref());
        println!(
            "    {}  after {}",
            line(tuple)?,
            parent.map_or("nothing".to_owned(), short)
        );
    }

    title("A TTL: what nobody asks for is forgotten");
    for _ in 0..3 {
        println!(
            "  The thread is kept for another {:.1} s.",
            agent.time_left().await?
        );
        tokio::time::sleep(Duration::from_millis(700)).await;
    }
    agent.resume().await?;
    println!(
        "  It was read, so it is kept for another {:.1} s.",
        agent.time_left().await?
    );

    title("The end");
    agent
        .saver
        .delete_thread(&thread.thread_id, &DeleteOptions::default())
        .await?;
    let left = agent.history().await?.len();
    println!("  The thread is deleted; {left} checkpoints are left.");
    Ok(())
}

/// What a process that runs the agent holds: lost when it ends, except for what the saver keeps.
struct Agent {
    saver: RedisSaver,
    /// The checkpoint that the next one follows.
    at: CheckpointConfig,
    step: i64,
    messages: Vec<[String; 2]>,
    version: Option<ChannelVersion>,
}

impl Agent {
    async fn start(url: &str, prefix: &str, thread: &CheckpointConfig) -> Outcome<Self> {
        let saver = RedisSaver::builder()
            .url(url)
            .prefix(prefix)
            .ttl(TtlPolicy::new(TTL).with_refresh_on_read(true))
            .build()
            .await?;
        saver.setup().await?;
        Ok(Self {
            saver,
            at: thread.clone(),
            step: -1,
            messages: Vec::new(),
            version: None,
        })
    }

    /// One turn of the conversation: two super-steps, each saved.
    async fn turn(&mut self, heard: &str, reply: &str) -> Outcome {
        self.hear(heard).await?;
        self.reply(reply).await
    }

    async fn hear(&mut self, text: &str) -> Outcome {
        say("you", text);
        self.messages.push(["you".to_owned(), text.to_owned()]);
        self.save("input").await
    }

    /// The agent's task first stores what it wrote, then the checkpoint that holds it.
    async fn reply(&mut self, text: &str) -> Outcome {
        self.write("messages", &["agent", text]).await?;
        say("agent", text);
        self.messages.push(["agent".to_owned(), text.to_owned()]);
        self.save("loop").await
    }

    async fn save(&mut self, source: &str) -> Outcome {
        let version = ChannelVersion::next(self.version.as_ref())?;
        self.step += 1;
        let checkpoint = Checkpoint::builder()
            .channel("messages", version.clone(), &self.messages)?
            .build()?;
        let metadata = CheckpointMetadata::new()
            .with("source", source)?
            .with("step", &self.step)?;
        self.at = self
            .saver
            .put(&self.at, &checkpoint, &metadata, &PutOptions::default())
            .await?;
        self.version = Some(version);
        println!(
            "          saved: step {}, checkpoint {}",
            self.step,
            short(checkpoint.id())
        );
        Ok(())
    }

    async fn write(&self, channel: &str, value: &(impl serde::Serialize + ?Sized)) -> Outcome {
        let writes = [ChannelWrite::new(channel, TypedValue::json(value)?)];
        let task = TaskId::new(format!("agent-{}", self.step))?;
        self.saver
            .put_writes(&self.at, &writes, &task, &PutWritesOptions::default())
            .await?;
        Ok(())
    }

    async fn interrupt(&self, question: &str) -> Outcome {
        self.write("__interrupt__", question).await?;
        say("agent", question);
        println!("          saved: an open interrupt of step {}", self.step);
        Ok(())
    }

    async fn answer(&mut self, answer: &str, reply: &str) -> Outcome {
        self.write("__resume__", answer).await?;
        self.reply(reply).await
    }

    /// Loads the newest checkpoint, and returns the question of an open interrupt.
    async fn resume(&mut self) -> Outcome<Option<String>> {
        let thread = CheckpointConfig::of_thread(self.at.thread_id.clone());
        let newest = self
            .saver
            .get_tuple(&thread)
            .await?
            .ok_or("the thread is gone")?;
        self.load(&newest)?;
        let interrupt = newest
            .pending_writes
            .iter()
            .find(|write| write.channel == "__interrupt__");
        Ok(interrupt.map(|write| write.value.decode()).transpose()?)
    }

    fn load(&mut self, tuple: &CheckpointTuple) -> Outcome {
        self.at = tuple.config.clone();
        self.step = tuple.metadata.get("step")?.unwrap_or_default();
        self.messages = messages(&tuple.checkpoint)?;
        self.version = tuple.checkpoint.channel_versions()?.remove("messages");
        Ok(())
    }

    fn show(&self) {
        for [who, text] in &self.messages {
            say(who, text);
        }
    }

    async fn history(&self) -> Outcome<Vec<CheckpointTuple>> {
        let thread = CheckpointConfig::of_thread(self.at.thread_id.clone());
        Ok(self
            .saver
            .list_all(Some(&thread), ListOptions::default())
            .await?)
    }

    async fn time_left(&self) -> Outcome<f64> {
        let found: Vec<_> = self
            .saver
            .threads(self.at.thread_id.as_str())
            .try_collect()
            .await?;
        let ttl = found.first().and_then(|summary| summary.ttl);
        Ok(ttl.ok_or("the thread has no TTL")?.as_secs_f64())
    }
}

fn messages(checkpoint: &Checkpoint) -> Outcome<Vec<[String; 2]>> {
    Ok(checkpoint.channel_value("messages")?.unwrap_or_default())
}

/// One checkpoint in a line: its step, id, and last message.
fn line(tuple: &CheckpointTuple) -> Outcome<String> {
    let step: i64 = tuple.metadata.get("step")?.unwrap_or_default();
    let messages = messages(&tuple.checkpoint)?;
    let [who, text] = messages.last().ok_or("a checkpoint is empty")?;
    let id = short(tuple.checkpoint.id());
    Ok(format!("step {step}  {id}  {who}: {text}"))
}

/// The part of an id that differs within a conversation.
fn short(id: &CheckpointId) -> String {
    id.as_str().chars().take(18).collect()
}

fn title(text: &str) {
    println!("\n== {text} ==");
}

fn say(who: &str, text: &str) {
    println!("  {:<7} {text}", format!("{who}:"));
}
