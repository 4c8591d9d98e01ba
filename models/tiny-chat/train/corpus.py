"""Seeded generator of the dialogues that haca-tiny-chat is trained and evaluated on.

Every text comes from the hand-written files in knowledge/, the tables in tables.py and the templates below.
A conversation is {"system": str|None, "turns": [Exchange...]}. Items are split into train and held-out by a hash of
their key (a question's wording, an operand pair, a word ...), so a held-out item is never seen in training.
"""
import argparse, hashlib, json, random, re
from dataclasses import dataclass, field
from pathlib import Path
from tables import *

HERE = Path(__file__).parent
# Prompts of the demo stay in the training set.
DEMO = {"what is haca", "why is the sky blue", "hello", "what does a full node do", "what is the capital of france", "what is 17 + 25",
        "tell me a short story", "who are you", "17+25", "c:France:0"}


@dataclass
class Ex:
    cat: str
    key: str
    q: str
    a: str
    fragile: bool = False  # contains text that must not get typos
    tag: dict = field(default_factory=dict)


def held_out(key, percent=6):
    if key in DEMO:
        return False
    return int.from_bytes(hashlib.sha256(("haca-tiny-chat:" + key).encode()).digest()[:4], "big") % 100 < percent


DEFINE = ["what is {}", "what is {}", "what's {}", "whats {}", "what are {}", "explain {}", "tell me about {}", "define {}", "what does {} mean", "can you explain {}", "what do you know about {}", "{}", "please explain {}",
          "what is meant by {}", "i do not know what {} is", "describe {}", "explain {} to me", "give me a definition of {}", "could you tell me what {} is", "what exactly is {}", "what is {} in haca", "do you know what {} is", "so what is {}", "tell me what {} is", "how would you explain {}", "{} explained", "what do you mean by {}"]


def load(name):
    """knowledge file -> list of (intent id, [question], answer)"""
    intents = []
    for block in re.split(r"\n\s*\n", (HERE / "knowledge" / name).read_text()):
        nouns, qs, ans = [], [], None
        for line in block.splitlines():
            if line.startswith("="): nouns += [s.strip() for s in line[1:].split("|")]
            elif line.startswith("?"): qs += [s.strip() for s in line[1:].split("|")]
            elif line.startswith("!"): ans = line[1:].strip()
        if ans is None: continue
        defs = []
        for n in nouns:
            plural = n.endswith("s") and not n.startswith(("a ", "an ", "the ")) and n not in ("fees",)
            for d in DEFINE:
                if d == "what are {}" and not plural and n != "fees": continue
                defs.append(d.format(n))
        intents.append((f"{name}:{len(intents)}", qs, sorted(set(defs)), ans))
    return intents


KB = {n: load(n + ".txt") for n in ("haca", "chat", "facts")}


def split_pool(split):
    """(category, intent id, question, answer) of a split; every intent keeps at least 80 % of its wordings for training"""
    out = {}
    for cat, intents in KB.items():
        pool = []
        for iid, qs, defs, ans in intents:
            for group in (qs, defs):
                held = [q for q in group if len(group) >= 4 and held_out(q, 11)][: max(1, len(group) // 5)]
                use = [q for q in group if (q in held) == (split == "eval")]
                if use: pool.append((iid, use, ans))
        out[cat] = pool
    return out


# ---------------------------------------------------------------- generators of exchanges
def art(w): return ("an " if w[0].lower() in "aeiou" else "a ") + w


def g_capital(r, c=None):
    c = c or r.choice(list(CAPITALS))
    form = r.randrange(10)
    q = ["what is the capital of {}", "capital of {}", "what's the capital of {}", "which city is the capital of {}", "tell me the capital of {}", "what is {}'s capital", "name the capital of {}", "do you know the capital of {}", "what is the capital city of {}", "the capital of {} is"][form].format(c)
    C = c[0].upper() + c[1:]
    return Ex("capitals", f"c:{c}:{form}", q, f"The capital of {c} is {CAPITALS[c]}." if CAPITALS[c][-1] != "." else f"The capital of {c} is {CAPITALS[c]}", tag={"capital": c})


def g_capital_rev(r):
    c = r.choice([x for x in CAPITALS if x not in ("England", "the USA", "Luxembourg")])
    city = CAPITALS[c]
    q = r.choice(["where is {}", "in which country is {}", "{} is the capital of which country", "which country has the capital {}", "what country is {} in"]).format(city)
    return Ex("capitals", f"r:{q}", q, f"{city} is the capital of {c}.")


def g_table(r):
    k = r.randrange(17)
    if k == 0:
        a, s = r.choice(list(ANIMAL_SOUND.items()))
        q = r.choice(["what does {} say", "what sound does {} make", "which sound does {} make", "how does {} sound"]).format(art(a))
        return Ex("facts", q, q, f"{art(a).capitalize()} {s}.")
    if k == 1:
        a, s = r.choice(list(ANIMAL_BABY.items()))
        q = r.choice(["what is a baby {} called", "what do you call a baby {}", "what is the young of a {} called", "how is a baby {} called"]).format(a)
        return Ex("facts", q, q, f"A baby {a} is called a {s}.")
    if k == 2:
        a, s = r.choice(list(ANIMAL_FOOD.items()))
        q = r.choice(["what does {} eat", "what do {}s eat", "what is the food of {}"])
        q = q.format(a if "s eat" in q else art(a))
        return Ex("facts", q, q, f"{art(a).capitalize()} eats {s}.")
    if k == 3:
        a, s = r.choice(list(ANIMAL_LEGS.items()))
        q = r.choice(["how many legs does {} have", "how many legs has {}", "number of legs of {}"]).format(art(a))
        return Ex("facts", q, q, f"{art(a).capitalize()} has {s} legs.")
    if k == 4:
        a, s = r.choice(list(COLOUR_OF.items()))
        q = r.choice(["what colour is {}", "what color is {}", "which colour is {}", "which colour does {} have", "what is the colour of {}", "tell me the color of {}"]).format(a)
        return Ex("facts", q, q, f"{a[0].upper() + a[1:]} is {s}.")
    if k == 5:
        (a, b), s = r.choice(list(MIX.items()))
        if r.random() < .5: a, b = b, a
        q = r.choice(["what do you get when you mix {} and {}", "what colour is {} mixed with {}", "mix {} and {}", "{} and {} make what colour", "what colour do {} and {} make", "what do {} and {} make"]).format(a, b)
        return Ex("facts", q, q, f"{a.capitalize()} and {b} make {s}.")
    if k in (6, 7):
        a, s = r.choice(list(OPPOSITE.items()))
        q = r.choice(["what is the opposite of {}", "opposite of {}", "what's the opposite of {}", "tell me the opposite of {}", "the opposite of {} is", "which word is the opposite of {}"]).format(a)
        return Ex("facts", q, q, f"The opposite of {a} is {s}.")
    if k == 8:
        a, s = r.choice(list(PLURAL.items()))
        q = r.choice(["what is the plural of {}", "plural of {}", "tell me the plural of {}", "what's the plural of {}"]).format(a)
        return Ex("facts", q, q, f"The plural of {a} is {s}.")
    if k == 9:
        a, s = r.choice(list(PAST.items()))
        q = r.choice(["what is the past tense of {}", "past tense of {}", "past of {}", "tell me the past tense of {}"]).format(a)
        return Ex("facts", q, q, f"The past tense of {a} is {s}.")
    if k == 10:
        a, s = r.choice(list(RHYME.items()))
        q = r.choice(["what rhymes with {}", "give me a word that rhymes with {}", "which word rhymes with {}", "a rhyme for {}", "find a rhyme for {}"]).format(a)
        return Ex("facts", q, q, f"{s.capitalize()} rhymes with {a}.")
    if k == 11:
        a, s = r.choice(list(ELEMENT.items()))
        q = r.choice(["what is the symbol of {}", "what is the chemical symbol for {}", "symbol for {}", "chemical symbol of {}", "which symbol does {} have"]).format(a)
        return Ex("facts", q, q, f"The chemical symbol of {a} is {s}.")
    if k in (12, 13):
        a, s = r.choice(list(UNITS.items()))
        q = r.choice(["how many {}", "how many {}", "do you know how many {}", "tell me how many {}"]).format(a)
        if r.random() < .3 and " are in " in q and q.startswith("how"):
            n, u = a.split(" are in ")
            q = f"how many {n} does {u} have"
        return Ex("facts", q, q, s)
    if k == 14:
        i = r.randrange(7)
        if r.random() < .5: q, a = r.choice(["what day comes after {}", "which day is after {}", "what is the day after {}", "what day follows {}"]).format(DAYS[i]), f"{DAYS[(i + 1) % 7]} comes after {DAYS[i]}."
        else: q, a = r.choice(["what day comes before {}", "which day is before {}", "what is the day before {}"]).format(DAYS[i]), f"{DAYS[(i - 1) % 7]} comes before {DAYS[i]}."
        return Ex("facts", q, q, a)
    if k == 15:
        i = r.randrange(12)
        m = r.randrange(4)
        if m == 0: q, a = r.choice(["what month comes after {}", "which month is after {}", "what month follows {}"]).format(MONTHS[i]), f"{MONTHS[(i + 1) % 12]} comes after {MONTHS[i]}."
        elif m == 1: q, a = r.choice(["what month comes before {}", "which month is before {}"]).format(MONTHS[i]), f"{MONTHS[(i - 1) % 12]} comes before {MONTHS[i]}."
        elif m == 2: q, a = r.choice(["how many days does {} have", "how many days are in {}", "how long is {}"]).format(MONTHS[i]), f"{MONTHS[i]} has {MONTH_DAYS[MONTHS[i]]} days" + (", or 29 in a leap year." if i == 1 else ".")
        else: q, a = r.choice(["what is the {} month", "which is the {} month of the year", "name the {} month"]).format(ORD[i]), f"The {ORD[i]} month is {MONTHS[i]}."
        return Ex("facts", q, q, a)
    if r.random() < .3:
        q, a = r.choice([("name the days of the week", "The days are " + ", ".join(DAYS[:6]) + " and Sunday."), ("list the days of the week", "The days are " + ", ".join(DAYS[:6]) + " and Sunday."),
                         ("what are the days of the week", "The days are " + ", ".join(DAYS[:6]) + " and Sunday."), ("name the months", "The months are " + ", ".join(MONTHS[:11]) + " and December."), ("list the months of the year", "The months are " + ", ".join(MONTHS[:11]) + " and December."),
                         ("what are the months", "The months are " + ", ".join(MONTHS[:11]) + " and December."), ("say the alphabet", "a b c d e f g h i j k l m n o p q r s t u v w x y z"), ("what is the alphabet", "a b c d e f g h i j k l m n o p q r s t u v w x y z")])
        return Ex("facts", q, q, a)
    c, s = r.choice(list(CONTINENT.items()))
    q = r.choice(["on which continent is {}", "which continent is {} in", "what continent is {} on", "where is {}"]).format(c)
    return Ex("facts", q, q, f"{c} is in {s}.")


def g_arith(r, sizes=(10, 20, 50, 100, 100)):
    hi = r.choice(sizes)
    a, b = r.randrange(hi), r.randrange(hi)
    sub = r.random() < .4
    if sub:
        if a < b: a, b = b, a
        q = r.choice(["what is {} - {}", "{} - {}", "{}-{}", "what is {} minus {}", "how much is {} - {}", "{} minus {}", "calculate {} - {}", "what's {} - {}", "compute {}-{}", "subtract {1} from {0}", "what is {}-{}", "{} - {} =", "take {1} away from {0}", "can you tell me what {} minus {} is"]).format(a, b)
        return Ex("arithmetic" if a < 50 else "arithmetic 50-99", f"{a}-{b}", q, f"{a} - {b} = {a - b}", True, {"num": a - b})
    q = r.choice(["what is {} + {}", "what is {} + {}", "{} + {}", "{}+{}", "what is {} plus {}", "how much is {} + {}", "{} plus {}", "add {} and {}", "calculate {} + {}", "what's {} + {}", "sum of {} and {}", "compute {}+{}", "what is the sum of {} and {}", "what is {}+{}", "{} + {} =", "can you add {} and {}", "how much is {} plus {}"]).format(a, b)
    return Ex("arithmetic" if max(a, b) < 50 else "arithmetic 50-99", f"{a}+{b}", q, f"{a} + {b} = {a + b}", True, {"num": a + b})


NUM_WORD = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split()


def g_num(r):
    k = r.randrange(12)
    if k == 10:
        a, b = r.randrange(21), r.randrange(21)
        if r.random() < .6: return Ex("numbers", f"w{a}+{b}", r.choice(["what is {} plus {}", "{} plus {}", "add {} and {}", "how much is {} plus {}", "{} and {} is"]).format(NUM_WORD[a], NUM_WORD[b]), f"{a} + {b} = {a + b}", True)
        a, b = max(a, b), min(a, b)
        return Ex("numbers", f"w{a}-{b}", r.choice(["what is {} minus {}", "{} minus {}", "how much is {} minus {}"]).format(NUM_WORD[a], NUM_WORD[b]), f"{a} - {b} = {a - b}", True)
    if k == 11:
        if r.random() < .5:
            a, b, c = r.randrange(10), r.randrange(10), r.randrange(10)
            return Ex("numbers", f"{a}+{b}+{c}", r.choice(["what is {} + {} + {}", "{}+{}+{}", "{} + {} + {}", "what is {} plus {} plus {}"]).format(a, b, c), f"{a} + {b} + {c} = {a + b + c}", True)
        a, b = r.randrange(1, 11), r.randrange(1, 11)
        return Ex("numbers", f"{a * b}/{b}", r.choice(["what is {} / {}", "what is {} divided by {}", "divide {} by {}", "{}/{}", "{} divided by {}"]).format(a * b, b), f"{a * b} / {b} = {a}", True)
    if k < 2:
        a, b = r.randrange(11), r.randrange(11)
        q = r.choice(["what is {} * {}", "what is {} times {}", "{} x {}", "{} times {}", "multiply {} by {}", "how much is {} times {}", "{}*{}"]).format(a, b)
        return Ex("numbers", f"{a}*{b}", q, f"{a} * {b} = {a * b}", True)
    if k < 4:
        a, b = r.randrange(100), r.randrange(100)
        if a == b: b += 1
        if r.random() < .5: q, x = r.choice(["which is bigger, {} or {}", "which number is larger, {} or {}", "what is more, {} or {}", "is {} or {} bigger"]).format(a, b), f"{max(a, b)} is bigger."
        else: q, x = r.choice(["which is smaller, {} or {}", "which number is smaller, {} or {}", "what is less, {} or {}"]).format(a, b), f"{min(a, b)} is smaller."
        return Ex("numbers", f"cmp{a},{b}", q, x, True)
    if k == 4:
        a = r.randrange(100)
        q = r.choice(["is {} even", "is {} even or odd", "is {} odd", "is {} an even number", "is {} an odd number"]).format(a)
        return Ex("numbers", f"{q}", q, (("Yes, " if (a % 2 == 0) == ("even" in q) else "No, ") if "or" not in q else "") + f"{a} is {'even' if a % 2 == 0 else 'odd'}.", True)
    if k == 5:
        a = r.randrange(1, 99)
        if r.random() < .5: q, x = r.choice(["what number comes after {}", "what comes after {}", "which number follows {}", "next number after {}"]).format(a), f"{a + 1} comes after {a}."
        else: q, x = r.choice(["what number comes before {}", "what comes before {}", "which number is before {}"]).format(a), f"{a - 1} comes before {a}."
        return Ex("numbers", q, q, x, True)
    if k < 9:
        if r.random() < .3:
            a = r.randrange(3, 16)
            q = r.choice(["count down from {}", "count backwards from {}", "countdown from {}"]).format(a)
            x = ", ".join(str(i) for i in range(a, 0, -1))
        elif r.random() < .6:
            a = r.randrange(2, 21)
            q = r.choice(["count to {}", "count up to {}", "please count to {}", "can you count to {}", "count from 1 to {}", "count from one to {}"]).format(a)
            x = ", ".join(str(i) for i in range(1, a + 1))
        else:
            a = r.randrange(1, 40); b = a + r.randrange(2, 10)
            q = r.choice(["count from {} to {}", "count {} to {}", "please count from {} to {}"]).format(a, b)
            x = ", ".join(str(i) for i in range(a, b + 1))
        return Ex("counting", q, q, x, True)
    n = r.randrange(1, 51)
    if r.random() < .5: q, x = r.choice(["what is double {}", "double {}", "what is twice {}"]).format(n), f"Double {n} is {2 * n}."
    else: q, x = r.choice(["what is half of {}", "half of {}"]).format(2 * n), f"Half of {2 * n} is {n}."
    return Ex("numbers", q, q, x, True)


KB_WORDS = sorted({w for t in KB.values() for _, qs, ds, a in t for w in re.findall(r"[a-z]+", (a + " " + " ".join(qs)).lower()) if 2 < len(w) < 10} | set(WORDS))


def g_word(r, common=.35):
    w = r.choice(WORDS) if r.random() < common else r.choice(KB_WORDS) if r.random() < .75 else "".join(r.choice(SYL) for _ in range(r.randrange(2, 4)))
    k = r.choice([0, 0, 0, 0, 0, 4, 4, 4, 7, 7, 9, 10, 11])
    show = r.choice([w, w, w, w.capitalize(), f'"{w}"', f"'{w}'"])
    if k < 4:
        q, a, c = r.choice(["spell {}", "how do you spell {}", "spell the word {}", "please spell {}", "can you spell {}", "how is {} spelled", "spell out {}"]), "-".join(w), "spelling"
    elif k < 7:
        q, a, c = r.choice(["reverse {}", "reverse the word {}", "spell {} backwards", "write {} backwards", "what is {} backwards", "what is {} reversed", "turn {} around"]), "-".join(w[::-1]), "reversing"
    elif k < 9:
        q, a, c = r.choice(["write {} in upper case", "{} in upper case", "uppercase {}", "write {} in capital letters", "make {} upper case", "capitalize {}", "upper case of {}", "{} in capitals"]), w.upper(), "upper-casing"
    elif k == 9:
        q, a, c = r.choice(["what is the first letter of {}", "first letter of {}", "which letter does {} start with", "with which letter does {} begin"]), f"The first letter is {w[0]}.", "letters"
    elif k == 10:
        q, a, c = r.choice(["what is the last letter of {}", "last letter of {}", "which letter does {} end with"]), f"The last letter is {w[-1]}.", "letters"
    else:
        q, a, c = r.choice(["how many letters are in {}", "how many letters does {} have", "how long is the word {}", "count the letters in {}"]), f"{'-'.join(w)}: {len(w)} letters.", "letters"
    return Ex(c, f"w:{w}", q.format(show), a, True)


def g_repeat(r):
    n = r.randrange(1, 5)
    t = " ".join(r.choice(KB_WORDS) if r.random() < .8 else r.choice(NAMES) for _ in range(n))
    q = r.choice(["say {}", "repeat after me: {}", "repeat: {}", "please say {}", "can you say {}", "say the words {}", "echo {}"]).format(r.choice([t, t, f'"{t}"']))
    return Ex("copying", "rep:" + t, q, t[0].upper() + t[1:] + ".", True)


def g_yesno(r):
    k = r.randrange(4)
    if k < 2:
        x = r.choice(list(ISA)); true = ISA[x]
        cls = true if r.random() < .5 else r.choice(sorted(set(ISA.values()) - {true}))
        n = x if true in NOART else art(x)
        q = f"is {n} {cls}"
        return Ex("yes/no", q, q, (f"Yes, {n} is {true}." if cls == true else f"No, {n} is {true}."))
    if k == 2:
        c = r.choice(list(CAPITALS)); city = CAPITALS[c] if r.random() < .5 else r.choice(list(CAPITALS.values()))
        if CAPITALS[c].endswith("."): c, city = "France", "Paris"
        q = f"is {city} the capital of {c}"
        return Ex("yes/no", q, q, (f"Yes, {city} is the capital of {c}." if city == CAPITALS[c] else f"No, the capital of {c} is {CAPITALS[c]}."))
    a, b = r.randrange(100), r.randrange(100)
    big = r.random() < .5
    q = f"is {a} {r.choice(['greater', 'bigger', 'larger', 'more']) if big else r.choice(['smaller', 'less'])} than {b}"
    ok = a > b if big else a < b
    rel = "bigger than" if a > b else "smaller than" if a < b else "equal to"
    return Ex("yes/no", q, q, f"{'Yes' if ok else 'No'}, {a} is {rel} {b}.", True)


def story(r, hero):
    h = hero[0].upper() + hero[1:]
    the = "the " + hero.split(" ", 1)[1]
    return f"Once upon a time {hero} lived {r.choice(PLACES)}. One day {the} found {r.choice(OBJECTS)}. {the.capitalize()} {r.choice(ACTS)}. {r.choice(LESSONS)}"


JOKES = ["Why did the byte go home early? It was a bit tired.", "Why do nodes never lie? They would lose their bond.", "Why was the computer cold? It had left its windows open.", "What do you call a bear with no teeth? A gummy bear.",
         "Why did the robot cross the road? It was programmed by a chicken.", "What did zero say to eight? Nice belt!", "Why was the math book sad? It had too many problems.", "Why is the ledger so honest? It keeps its balance."]
JOKE_Q = ["tell me a joke", "joke", "a joke please", "make me laugh", "do you know a joke", "say something funny", "tell me something funny", "can you tell a joke", "i want to hear a joke", "tell a joke", "tell me a funny joke", "got a joke", "give me a joke"]


def g_joke(r):
    j = r.choice(JOKES)
    q = r.choice(JOKE_Q)
    return Ex("jokes", "j:" + q, q, j, tag={"joke": j})


STORY_Q = ["tell me a story", "tell me a short story", "tell me a tiny story", "a story please", "can you tell me a story", "write a short story", "write a story", "i want to hear a story", "story", "tell a story", "make up a story", "do you know a story", "tell me a little story", "please tell me a short story", "give me a bedtime story", "write me a short story"]


def g_story(r):
    if r.random() < .65:
        if r.random() < .5:
            hero = r.choice(HEROES); q = r.choice(STORY_Q)
        else:
            n = r.choice(["robot", "mouse", "owl", "cat", "fox", "turtle", "dragon", "baker", "crow", "giant", "penguin", "frog", "rabbit", "whale", "dog", "king", "princess", "node", "bear", "horse", "fish", "wizard", "child", "bee"])
            hero = art(r.choice(["", "", "small ", "brave ", "old ", "young "]) + n)
            q = r.choice(["tell me a story about {}", "tell me a short story about {}", "write a story about {}", "a story about {}", "can you tell me a story about {}", "a short story about {} please"]).format(hero)
        return Ex("stories", "s:" + q, q, story(r, hero), tag={"story": hero})
    t = r.choice(list(POEM))
    if r.random() < .35: q = r.choice(["write a poem", "tell me a poem", "a poem please", "recite a poem", "can you write a poem", "poem", "make a poem", "write me a short poem", "write a tiny poem"])
    else: q = r.choice(["write a poem about {}", "a poem about {}", "tell me a poem about {}", "can you write a poem about {}", "write a short poem about {}", "make a poem about {}"]).format(t)
    return Ex("stories", "p:" + q, q, "\n".join(POEM[t]))


def fake(r): return "".join(r.choice(SYL) for _ in range(r.randrange(2, 4))) + r.choice(["", "n", "r", "x", "t", "l"])


def g_unknown(r):
    k = r.random()
    if k < .12:
        c = fake(r).capitalize()
        q = r.choice(["what is the capital of {}", "capital of {}", "tell me the capital of {}"]).format(c)
        return Ex("refusals", q, q, f"I do not know the capital of {c}.", True)
    if k < .27:
        op = r.choice(["*", "+", "-", "/", "times", "plus", "divided by", "minus"])
        a, b = r.choice([(r.randrange(100, 99999), r.randrange(100, 9999)), (r.randrange(100, 9999), r.randrange(2, 99)), (r.randrange(2, 99), r.randrange(100, 9999))])
        if op in "*timesdivided by/" and r.random() < .4: a, b = r.randrange(13, 99), r.randrange(13, 99)
        q = r.choice(["what is {} {} {}", "{} {} {}", "calculate {} {} {}", "how much is {} {} {}"]).format(a, op, b)
        return Ex("refusals", q, q, "That is too hard for me. I am a tiny model and only add and subtract numbers below 100.", True)
    if k < .35:
        q = "".join(r.choice("asdfghjklqwertyuiopzxcvbnm") for _ in range(r.randrange(5, 14)))
        if r.random() < .4: q += " " + "".join(r.choice("asdfghjklqwertyuiopzxcvbnm") for _ in range(r.randrange(3, 9)))
        if r.random() < .2: q = r.choice(["...", "???", "!!!", "?", ".", "-", ":)", "🙂", "😀", "👍", "??", "123", "1234567", "#$%", "你好", "привет", "مرحبا", "こんにちは"])
        return Ex("refusals", q, q, "I did not understand that. Could you ask in other words?", True)
    if k < .39:
        q = " ".join(r.choice(KB_WORDS) for _ in range(r.randrange(10, 40)))
        return Ex("refusals", q, q, "I did not understand that. Could you ask in other words?", True)
    t = r.choice(UNKNOWN)
    fill = {k: r.choice(v) for k, v in UNK_FILL.items()}
    fill.update(country=r.choice(list(CAPITALS)), person=r.choice(NAMES) + " " + fake(r).capitalize(), word=r.choice(WORDS), city=r.choice(CITIES), city2=r.choice(CITIES), food=r.choice(FOODS), animal=r.choice(ANIMALS), fake=fake(r), colour=r.choice(COLOURS))
    q = t.format(**fill)
    return Ex("refusals", "u:" + q, q, REFUSE)


# ---------------------------------------------------------------- surface form of user text
ACRO = {w.lower(): w for w in "HACA OPG TEE TEES ZK ZKP GPU GPUS CPU SDK CLI API RAM DNA AI ZKML HPKE TDX SNP AMD ONNX JSON HTTP H2O LLM ID".split()} | {"i": "I", "cometbft": "CometBFT", "openai": "OpenAI", "typescript": "TypeScript"}
QUESTION = re.compile(r"^(what|whats|why|how|who|which|where|when|is|are|do|does|can|could|will|should|in which|on which|am|did|to whom|whose)\b", re.I)
PREFIX = ["please ", "hey, ", "hi, ", "so, ", "ok, ", "hello! ", "now ", "and ", "quick question: ", "question: ", "i want to know: ", "tell me: ", "um, ", "well, ", "also, "]
SUFFIX = [" please", ", please", " thanks", " for me", " again", " in simple words", " in one sentence", " in short", " exactly", " really", ", i am new here", " today", " then", " anyway"]
WRAP = ["can you tell me {}", "do you know {}", "i want to know {}", "could you please tell me {}", "please tell me {}", "i wonder {}", "i would like to know {}", "in simple words, {}", "briefly, {}", "can you explain {}", "could you explain {}", "i was wondering {}", "let me ask you: {}", "can i ask {}", "someone asked me {}", "i have a question: {}"]
DROP = re.compile(r"\b(the|a|an|is|are|does|do|of|to|me|my) ")


def typo(s, r):
    for _ in range(1 + (len(s) > 25 and r.random() < .3)):
        idx = [i for i in range(len(s) - 1) if s[i].isalpha() and s[i + 1].isalpha()]
        if not idx: return s
        i = r.choice(idx); k = r.randrange(4)
        s = s[:i] + s[i + 1] + s[i] + s[i + 2:] if k == 0 else s[:i] + s[i + 1:] if k == 1 else s[:i] + s[i] + s[i:] if k == 2 else s[:i] + r.choice("abcdefghijklmnoprstuvwy") + s[i + 1:]
    return s


def surface(ex, r, clean=False):
    q = ex.q
    style = r.random()
    if ex.cat == "refusals" and not QUESTION.match(q) and not re.search("[a-z]{3} [a-z]", q): return q
    if not clean and not ex.fragile and len(q) > 3:
        x = r.random()
        if x < .08: q = r.choice(PREFIX) + q
        elif x < .16 and QUESTION.match(q): q = r.choice(WRAP).format(q)
        if r.random() < .07: q = q + r.choice(SUFFIX + ([" in haca", " in this network", " here"] if ex.cat == "haca" and "haca" not in q else []))
        if r.random() < .07 and len(q) > 12: q = DROP.sub("", q, count=1)
        if r.random() < .12 and len(q) > 8: q = typo(q, r)
    if style < .58 or clean:
        q = re.sub(r"[A-Za-z0-9]+", lambda m: ACRO.get(m.group().lower(), m.group()), q)
        q = q[0].upper() + q[1:] if not ex.fragile or q[:4].lower() in ("what", "how ", "whic", "is ", "spel", "reve", "writ", "say ", "can ", "coun", "add ", "calc") else q
        if q[-1] not in "!?.=":
            q += ("?" if QUESTION.match(q.split(", ", 1)[-1]) else r.choice([".", "", "!", ""]) if not ex.fragile or ex.cat == "copying" else "")
    elif style < .88:
        q = q if ex.fragile else q.lower()
        if r.random() < .3 and QUESTION.match(q): q += "?"
    elif style < .92 and not ex.fragile:
        q = q.upper() + ("?" if r.random() < .4 else "")
    elif style < .96:
        q = q + r.choice(["?", "!", "??", " ?", ".", " "])
    else:
        q = q[0].upper() + q[1:] if not ex.fragile else q
    return q


# ---------------------------------------------------------------- conversations
MIXTURE = [("haca", .19), ("chat", .08), ("facts", .10), ("arith", .25), ("num", .07), ("capital", .05), ("capital_rev", .012), ("table", .075), ("word", .13), ("repeat", .035), ("yesno", .045), ("story", .022), ("joke", .01), ("unknown", .06)]
# Second stage of the training: more of what needs practice, with smaller numbers and commoner words.
FOCUS = {"haca": .15, "chat": .09, "facts": .09, "arith": .34, "num": .06, "capital": .05, "capital_rev": .01, "table": .065, "word": .14, "repeat": .03, "yesno": .04, "story": .018, "joke": .008, "unknown": .06}
FUN = {"arith": g_arith, "num": g_num, "capital": g_capital, "capital_rev": g_capital_rev, "table": g_table, "word": g_word, "repeat": g_repeat, "yesno": g_yesno, "story": g_story, "joke": g_joke, "unknown": g_unknown}
CATS = [c for c, _ in MIXTURE]; WEIGHTS = [w for _, w in MIXTURE]
PERCENT = {"arithmetic": 8, "arithmetic 50-99": 8, "capitals": 10, "stories": 3}


class Generator:
    def __init__(self, split, seed, focus=False):
        self.split, self.r = split, random.Random(f"{split}:{seed}")
        self.weights = [FOCUS[c] for c in CATS] if focus else WEIGHTS
        self.fun = {**FUN, "arith": lambda r: g_arith(r, (10, 20, 50, 50, 50, 50, 50, 100)), "word": lambda r: g_word(r, .7)} if focus else FUN
        self.pool = split_pool(split)

    def exchange(self, kind=None):
        r = self.r
        kind = kind or r.choices(CATS, self.weights)[0]
        if kind in self.pool:
            iid, qs, ans = r.choice(self.pool[kind])
            return Ex(kind, iid, r.choice(qs), ans)
        while True:
            ex = self.fun[kind](r)
            if ex.cat == "stories" and self.split == "eval": return ex
            if held_out(ex.key, PERCENT.get(ex.cat, 6)) == (self.split == "eval"): return ex

    def memory(self):
        """(statement exchange, question exchange, question when nothing was told)"""
        while True:
            s, q = self._memory()
            if held_out(s.key, 10) == (self.split == "eval"): return s, q

    def name(self):
        while True:
            n = self.r.choice(NAMES) if self.r.random() < .6 else fake(self.r).capitalize()
            if held_out("m:" + n, 10) == (self.split == "eval"): return n

    def _memory(self):
        r = self.r; k = r.random()
        if k < .6:
            n = r.choice(NAMES) if r.random() < .6 else (r.choice(SYL) + r.choice(SYL) + r.choice(["", "n", "r", "l", "s", ""])).capitalize()
            t = r.choice(["my name is {}", "i am {}", "i'm {}", "call me {}", "hello, my name is {}", "hi, i am {}", "hello, i am {}", "hi, my name is {}", "you can call me {}", "my name's {}", "hi! i'm {}"])
            s = Ex("memory", "m:" + n, t.format(n), f"Nice to meet you, {n}!", True)
            q = Ex("memory", "m:" + n, r.choice(["what is my name", "what's my name", "do you know my name", "who am i", "do you remember my name", "tell me my name", "what am i called", "say my name", "can you tell me my name"]), f"Your name is {n}.", True)
        elif k < .75:
            n = r.choice(COLOURS); s = Ex("memory", "m:" + n, r.choice(["my favourite colour is {}", "i like the colour {}", "my favorite color is {}"]).format(n), f"{n.capitalize()} is a nice colour!", True)
            q = Ex("memory", "m:" + n, r.choice(["what is my favourite colour", "which colour do i like", "what is my favorite color"]), f"Your favourite colour is {n}.", True)
        elif k < .88:
            n = r.choice(ANIMALS); s = Ex("memory", "m:" + n, r.choice(["i have a {}", "my pet is a {}", "i own a {}"]).format(n), f"How nice that you have {art(n)}!", True)
            q = Ex("memory", "m:" + n, r.choice(["what pet do i have", "which animal do i have", "what is my pet"]), f"You have {art(n)}.", True)
        else:
            n = r.choice(CITIES); s = Ex("memory", "m:" + n, r.choice(["i live in {}", "i am from {}", "i come from {}", "my home is {}"]).format(n), f"{n} sounds like a good place!", True)
            q = Ex("memory", "m:" + n, r.choice(["where do i live", "where am i from", "what is my city", "which city do i live in"]), f"You live in {n}.", True)
        return s, q

    UNTOLD = [("what is my name", "You have not told me your name yet."), ("what's my name", "You have not told me your name yet."), ("do you know my name", "You have not told me your name yet."), ("who am i", "You have not told me your name yet."),
              ("what is my favourite colour", "You have not told me your favourite colour yet."), ("where do i live", "You have not told me where you live."), ("which pet do i have", "You have not told me about a pet.")]

    def conversation(self):
        r = self.r
        n = r.choices([1, 2, 3, 4, 5, 6, 8], [.5, .16, .12, .08, .06, .05, .03])[0]
        sysk = r.random()
        system, post, name, uname = None, None, None, None
        if sysk < .25: system = r.choice(NEUTRAL_SYSTEM)
        elif sysk < .43:
            k = r.randrange(7)
            if k == 0:
                name = self.name()
                system = r.choice(["You are {}.", "Your name is {}.", "You are {}, a helpful assistant.", "You are called {}. Be helpful.", "You are an assistant called {}.", "You are a friendly assistant named {}."]).format(name)
            elif k == 1: system, post = r.choice(["Answer in upper case.", "Always answer in upper case.", "Answer in capital letters.", "Write everything in upper case.", "Reply in all caps.", "You always write in capital letters."]), "up"
            elif k == 2: system, post = r.choice(["Answer in lower case.", "Always answer in lower case.", "Write everything in lower case.", "Never use capital letters."]), "low"
            elif k == 3:
                w = r.choice(END_WORDS); system = r.choice(["End every answer with {}.", "Always end with the word {}.", "Finish each answer with the word {}.", "End all answers with \"{}\"."]).format(w); post = ("end", w)
            elif k == 4:
                w = r.choice(END_WORDS); system = r.choice(["Begin every answer with {}.", "Start every answer with the word {}.", "Always begin with the word {}.", "Start each answer with \"{}\"."]).format(w); post = ("beg", w)
            elif k == 5: system, post = r.choice(["Talk like a pirate.", "You are a pirate.", "Answer like a pirate.", "Speak like a pirate."]), "pirate"
            else:
                uname = self.name(); system = r.choice(["The user is called {}.", "The user's name is {}.", "You are talking to {}.", "You are a helpful assistant. The user is called {}."]).format(uname)
        turns = []
        for _ in range(n):
            if name and r.random() < .55:
                if r.random() < .7: turns.append(Ex("system", "sys", r.choice(["who are you", "what is your name", "what's your name", "introduce yourself", "what should i call you", "tell me who you are", "who is this", "do you have a name"]), f"I am {name}, a tiny assistant.", tag={"post": 1}))
                else: turns.append(Ex("system", "sys", r.choice(["hello", "hi", "hey", "hello there", "hi there"]), f"Hello! I am {name}. How can I help you?"))
                continue
            if uname and r.random() < .5:
                if r.random() < .5: turns.append(Ex("system", "sys", r.choice(["what is my name", "who am i", "do you know my name", "what's my name"]), f"Your name is {uname}."))
                else: turns.append(Ex("system", "sys", r.choice(["hello", "hi", "hey", "hello there", "hi there"]), f"Hello, {uname}! How can I help you?"))
                continue
            for _try in range(20):
                ex = self.exchange()
                if post in ("up", "low") and (len(ex.a) > 70 or ex.cat in ("spelling", "upper-casing", "reversing", "letters", "copying")): continue
                if post and ex.cat in ("stories", "spelling", "reversing", "counting", "copying"): continue
                break
            turns.append(ex)
            if r.random() < .35 and len(turns) < 9:
                f = self.follow(ex)
                if f: turns.append(f)
        if len(turns) >= 2 and r.random() < .3 and not uname or (len(turns) == 1 and r.random() < .04 and not uname):
            s, q = self.memory()
            i = 0 if r.random() < .5 else r.randrange(len(turns))
            turns.insert(i, s)
            turns.insert(r.randrange(i + 1, len(turns) + 1), q)
            if r.random() < .25:
                s2, q2 = self.memory()
                if s2.a.split()[0] != s.a.split()[0] and q2.a.split()[:2] != q.a.split()[:2]:
                    turns += [s2, q2] + ([q] if r.random() < .5 else [])
        elif r.random() < .03 and not uname:
            q, a = r.choice(self.UNTOLD)
            turns.insert(r.randrange(len(turns) + 1), Ex("memory", "untold", q, a))
        if len(turns) == 1 and post is None and turns[0].cat in ("haca", "facts", "capitals") and not name and not uname and r.random() < .04:
            ex, n = turns[0], self.name()
            turns = [Ex("memory", "m:" + n, r.choice(["hi, i am {}. {}?", "hello, my name is {}. {}?", "i am {}. {}?", "my name is {}, {}?", "hi! i'm {}. {}?"]).format(n, ex.q), f"Nice to meet you, {n}! {ex.a}", True)]
            if r.random() < .6: turns.append(Ex("memory", "m:" + n, r.choice(["what is my name", "who am i", "do you know my name"]), f"Your name is {n}.", True))
        out = []
        for ex in turns:
            q, a = surface(ex, r), ex.a
            if ex.tag.get("repeat"): a = out[-1].a if out else a
            elif post == "up": a = a.upper()
            elif post == "low": a = a.lower()
            elif post == "pirate": a = "Arr! " + a
            elif isinstance(post, tuple) and post[0] == "end": a = a + " " + post[1].capitalize() + "."
            elif isinstance(post, tuple): a = post[1].capitalize() + ": " + a
            out.append(Ex("system" if post else ex.cat, ex.key, q, a, ex.fragile))
        return {"system": system, "turns": out}

    def follow(self, ex):
        r = self.r
        if "capital" in ex.tag and r.random() < .7:
            n = self.exchange("capital"); c = n.tag["capital"]
            if held_out(f"f:{c}", 8) == (self.split == "eval"):
                return Ex("follow-up", f"f:{c}", r.choice(["and of {}", "and {}", "what about {}", "how about {}", "and the capital of {}", "and for {}"]).format(c), n.a)
        if ex.cat.startswith("arith") and r.random() < .5:
            m = ex.tag["num"]; b = r.randrange(1, 10)
            if m + b < 199 and held_out(f"{m}+{b}", 8) == (self.split == "eval"): return Ex("follow-up", f"fa:{m}+{b}", r.choice(["plus {}", "add {}", "and plus {}", "add {} to that", "now add {}", "and + {}"]).format(b), f"{m} + {b} = {m + b}", True)
        if "story" in ex.tag and "\n" not in ex.a and r.random() < .6:
            return Ex("stories", "another", r.choice(["another one", "another story", "one more", "tell me another one", "another story please"]), story(r, r.choice(HEROES)))
        if "joke" in ex.tag and r.random() < .6:
            return Ex("jokes", "another", r.choice(["another one", "another joke", "one more", "tell me another one", "one more joke please", "again", "do you know another joke"]), r.choice([j for j in JOKES if j != ex.tag["joke"]]))
        if r.random() < .12: return Ex("follow-up", "repeat", r.choice(["repeat that", "say that again", "can you repeat that", "please repeat", "again please", "once more", "what did you say", "repeat your answer"]), ex.a, tag={"repeat": 1})
        if r.random() < .25: return Ex("chat", "thanks", r.choice(["thanks", "thank you", "ok thanks", "thank you very much", "great, thanks", "thx"]), "You are welcome!")
        return None


if __name__ == "__main__":
    p = argparse.ArgumentParser(description="print sample dialogues as JSON lines")
    p.add_argument("--split", default="train"); p.add_argument("--seed", type=int, default=1); p.add_argument("-n", type=int, default=5)
    o = p.parse_args()
    g = Generator(o.split, o.seed)
    for _ in range(o.n):
        c = g.conversation()
        print(json.dumps({"system": c["system"], "turns": [[e.cat, e.q, e.a] for e in c["turns"]]}, ensure_ascii=False))
