//! The commands that stand in Markdown pages: what is documented is tested.

use std::fs;
use std::path::Path;

/// A fenced block of a page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    /// The page, as `docs/DEPLOY.md`.
    pub page: String,
    /// The line of the page on which the block's first line stands.
    pub line: usize,
    /// The first word behind the fence, as `sh`.
    pub language: String,
    /// What follows that word, as `needs=cluster`.
    pub mark: String,
    /// The lines between the fences.
    pub text: String,
}

/// The blocks of `README.md` and of all pages in `docs/`, page by page.
///
/// # Panics
/// A page cannot be read.
pub fn blocks(repository: &Path) -> Vec<Block> {
    let entries = fs::read_dir(repository.join("docs")).unwrap_or_else(|error| panic!("docs: {error}"));
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut pages: Vec<_> =
        names.filter(|name| name.ends_with(".md")).map(|name| format!("docs/{name}")).collect();
    pages.sort();
    pages.insert(0, "README.md".to_owned());
    let blocks = pages.into_iter().flat_map(|page| {
        let text =
            fs::read_to_string(repository.join(&page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        blocks_of(&page, &text)
    });
    blocks.collect()
}

fn blocks_of(page: &str, text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    for (index, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), &mut open) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => {
                let (language, mark) = info.trim().split_once(' ').unwrap_or((info.trim(), ""));
                open = Some(Block {
                    page: page.to_owned(),
                    line: index + 2,
                    language: language.to_owned(),
                    mark: mark.trim().to_owned(),
                    text: String::new(),
                });
            }
            (None, Some(block)) => {
                block.text.push_str(line);
                block.text.push('\n');
            }
            (None, None) => {}
        }
    }
    blocks
}

impl Block {
    /// Its commands, as somebody types them: of a transcript (`console`) only what follows a `$`; without the texts that are handed to a
    /// command (`<<'EOF'`), and with continued lines joined.
    pub fn commands(&self) -> Vec<String> {
        let mut commands = Vec::new();
        let mut joined = String::new();
        let mut ends_with: Option<String> = None;
        for line in self.text.lines() {
            if let Some(end) = &ends_with {
                if line == end {
                    ends_with = None;
                }
                continue;
            }
            let line = match self.language.as_str() {
                "console" if joined.is_empty() => match line.strip_prefix("$ ") {
                    Some(typed) => typed,
                    None => continue,
                },
                _ => line,
            };
            if let Some(start) = line.strip_suffix('\\') {
                joined.push_str(start);
                continue;
            }
            joined.push_str(line);
            ends_with =
                line.split_once("<<'").and_then(|(_, rest)| Some(rest.split_once('\'')?.0.to_owned()));
            commands.push(std::mem::take(&mut joined));
        }
        commands.retain(|command| !command.trim().is_empty() && !command.trim_start().starts_with('#'));
        commands
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# A page\n```sh needs=queue\ncat > x <<'EOF'\netl-worker typo\nEOF\n\n# a comment\na \\\n  b   # c\n```\n\
                        ```console\n$ one \\\n  two\nwhat it says\n$ three\n```\n```text\nfour\n```\n";

    #[test]
    fn blocks_have_their_place_language_and_mark() {
        let blocks = blocks_of("docs/A.md", PAGE);
        let seen: Vec<_> =
            blocks.iter().map(|block| (block.line, block.language.as_str(), block.mark.as_str())).collect();
        assert_eq!(seen, [(3, "sh", "needs=queue"), (12, "console", ""), (18, "text", "")]);
    }

    #[test]
    fn commands_are_joined_and_told_from_what_they_read_and_say() {
        let blocks = blocks_of("docs/A.md", PAGE);
        assert_eq!(blocks[0].commands(), ["cat > x <<'EOF'", "a   b   # c"]);
        assert_eq!(blocks[1].commands(), ["one   two", "three"]);
    }
}
