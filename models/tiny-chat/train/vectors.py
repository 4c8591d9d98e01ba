"""Write tokenizer-vectors.json: strings and whole prompts with the ids that every implementation has to give."""
import argparse, json
from tokenizer import Tokenizer

TEXTS = ["", " ", "  ", "\n", "\n\n", "\t", "a", "A", "hello", "Hello", " hello", "HELLO", "hello world", "Hello, world!", "What is HACA?", "What does a full node do?", "An inference node runs the model.", "zero-knowledge proof", "What is 17 + 25?", "17 + 25 = 42", "1000000000", "3.14159",
         "trailing space ", "  two leading spaces", "line one\nline two", "windows\r\nline", "tab\tseparated", "don't", "e-mail: a@b.c", "https://example.org/?q=1&r=2", "{\"json\": [1, 2, null]}", "snake_case camelCase UPPER", "café", "naïve", "Zürich", "ÄÖÜ ß", "привет мир", "你好,世界", "こんにちは", "مرحبا", "नमस्ते", "🙂", "👍🏽", "👨‍👩‍👧", "a🙂b", "e\u0301", "\u00a0", "\u200b", "\ufeff", "\u0000", "\u007f\u0080", "ﬁ", "𝒳", "<|bos|>", "<|user|>hi<|end|>", "<|assistant|>", "<|end|>", "...", "?!?!", "    indented", "a  b   c", "The receipt goes from executed to settled, then verified, then final.", "Why is the sky blue?", "supercalifragilistic"]
PROMPTS = [[("user", "Hello!")], [("system", "You are a helpful assistant."), ("user", "What is HACA?")], [("user", "My name is Ada."), ("assistant", "Nice to meet you, Ada!"), ("user", "  What is my name?\n")], [("user", "")]]

if __name__ == "__main__":
    p = argparse.ArgumentParser(); p.add_argument("--folder", default="..")
    o = p.parse_args()
    t = Tokenizer.load(f"{o.folder}/tokenizer.json")
    with open(f"{o.folder}/tokenizer-vectors.json", "w") as f:
        rows = []
        for s in TEXTS:
            ids = t.encode(s)
            assert t.decode(ids) == s and not set(ids) & set(t.special.values())
            rows.append("    " + json.dumps({"text": s, "ids": ids}))
        chats = ["    " + json.dumps({"messages": [{"role": r, "content": c} for r, c in m], "ids": t.prompt(m)}) for m in PROMPTS]
        f.write('{\n  "vectors": [\n' + ",\n".join(rows) + '\n  ],\n  "prompts": [\n' + ",\n".join(chats) + "\n  ]\n}\n")
    print(len(TEXTS), "strings,", len(PROMPTS), "prompts")
