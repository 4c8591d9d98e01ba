"""Small hand-written tables of facts, names and words used by corpus.py. Apache-2.0 like the project."""

CAPITALS = dict(x.split(":") for x in """France:Paris;Germany:Berlin;Italy:Rome;Spain:Madrid;Portugal:Lisbon;Austria:Vienna;
Switzerland:Bern;Belgium:Brussels;the Netherlands:Amsterdam;Denmark:Copenhagen;Sweden:Stockholm;Norway:Oslo;Finland:Helsinki;
Iceland:Reykjavik;Ireland:Dublin;the United Kingdom:London;England:London;Scotland:Edinburgh;Wales:Cardiff;Poland:Warsaw;
the Czech Republic:Prague;Slovakia:Bratislava;Hungary:Budapest;Romania:Bucharest;Bulgaria:Sofia;Greece:Athens;Turkey:Ankara;
Russia:Moscow;Ukraine:Kyiv;Croatia:Zagreb;Serbia:Belgrade;Slovenia:Ljubljana;Estonia:Tallinn;Latvia:Riga;Lithuania:Vilnius;
Luxembourg:Luxembourg;Malta:Valletta;Cyprus:Nicosia;Egypt:Cairo;Morocco:Rabat;Tunisia:Tunis;Kenya:Nairobi;Nigeria:Abuja;
Ghana:Accra;Ethiopia:Addis Ababa;Senegal:Dakar;Israel:Jerusalem;Iraq:Baghdad;Iran:Tehran;Saudi Arabia:Riyadh;India:New Delhi;
Pakistan:Islamabad;Nepal:Kathmandu;Bangladesh:Dhaka;China:Beijing;Japan:Tokyo;South Korea:Seoul;Vietnam:Hanoi;Thailand:Bangkok;
Indonesia:Jakarta;Malaysia:Kuala Lumpur;the Philippines:Manila;Mongolia:Ulaanbaatar;Australia:Canberra;New Zealand:Wellington;
Canada:Ottawa;the United States:Washington, D.C.;the USA:Washington, D.C.;Mexico:Mexico City;Cuba:Havana;Jamaica:Kingston;
Brazil:Brasilia;Argentina:Buenos Aires;Chile:Santiago;Peru:Lima;Colombia:Bogota;Venezuela:Caracas;Ecuador:Quito;
Uruguay:Montevideo;Bolivia:Sucre;Paraguay:Asuncion""".replace("\n", "").split(";"))

CONTINENT = {}
for _c, _l in {"Europe": "France Germany Italy Spain Portugal Austria Switzerland Belgium Denmark Sweden Norway Finland Iceland Ireland Poland Hungary Romania Bulgaria Greece Ukraine Croatia Serbia",
               "Africa": "Egypt Morocco Tunisia Kenya Nigeria Ghana Ethiopia Senegal",
               "Asia": "India China Japan Vietnam Thailand Nepal Pakistan Mongolia Iraq Iran",
               "North America": "Canada Mexico Cuba Jamaica",
               "South America": "Brazil Argentina Chile Peru Colombia Venezuela Ecuador Uruguay Bolivia"}.items():
    for _x in _l.split():
        CONTINENT[_x] = _c

ANIMAL_SOUND = dict(x.split(":") for x in "dog:barks;cat:meows;cow:moos;sheep:bleats;horse:neighs;pig:oinks;duck:quacks;lion:roars;wolf:howls;bee:buzzes;snake:hisses;frog:croaks;owl:hoots;mouse:squeaks;rooster:crows;hen:clucks;donkey:brays;bird:sings;elephant:trumpets;crow:caws".split(";"))
ANIMAL_BABY = dict(x.split(":") for x in "dog:puppy;cat:kitten;cow:calf;sheep:lamb;horse:foal;pig:piglet;duck:duckling;lion:cub;bear:cub;goat:kid;frog:tadpole;hen:chick;goose:gosling;deer:fawn;kangaroo:joey;swan:cygnet;fox:cub;elephant:calf".split(";"))
ANIMAL_FOOD = dict(x.split(":") for x in "cow:grass;panda:bamboo;koala:eucalyptus leaves;lion:meat;rabbit:grass and leaves;horse:grass and oats;cat:meat and fish;penguin:fish;bee:nectar;monkey:fruit and leaves;owl:mice;squirrel:nuts and seeds;shark:fish;giraffe:leaves;wolf:meat".split(";"))
ANIMAL_LEGS = {**{a: "four" for a in "dog cat cow sheep horse pig lion wolf frog mouse donkey elephant bear goat fox rabbit deer tiger".split()}, **{a: "two" for a in "duck bird hen owl chicken human penguin".split()}, "snake": "no", "fish": "no", "worm": "no"}

COLOUR_OF = dict(x.split(":") for x in "a banana:yellow;grass:green;snow:white;blood:red;coal:black;a lemon:yellow;the sky:blue;a carrot:orange;a tomato:red;milk:white;the sun:yellow;a crow:black;an orange:orange;chocolate:brown;a strawberry:red;a frog:green;the sea:blue;a fire truck:red;an elephant:grey;a polar bear:white;a plum:purple;salt:white;gold:yellow;a leaf:green;the night:black;a pig:pink;a cherry:red;a cucumber:green;wood:brown;ash:grey".split(";"))
MIX = {("red", "blue"): "purple", ("red", "yellow"): "orange", ("blue", "yellow"): "green", ("black", "white"): "grey", ("red", "white"): "pink"}
OPPOSITE = {}
for _p in "hot cold;big small;up down;left right;day night;black white;fast slow;old new;happy sad;good bad;long short;high low;hard soft;wet dry;rich poor;strong weak;open closed;full empty;early late;light dark;loud quiet;heavy light;clean dirty;true false;yes no;in out;on off;near far;young old;thick thin;love hate;start end;win lose;push pull;always never;first last;north south;east west;summer winter;inside outside;easy difficult;safe dangerous;sweet sour;sharp blunt;wide narrow;deep shallow;brave afraid;awake asleep;alive dead;friend enemy;buy sell;give take;question answer;before after;more less;public private".split(";"):
    _a, _b = _p.split()
    OPPOSITE.setdefault(_a, _b)
    OPPOSITE.setdefault(_b, _a)
OPPOSITE["light"] = "dark"
OPPOSITE["old"] = "new"
PLURAL = dict(x.split(":") for x in "mouse:mice;child:children;man:men;woman:women;foot:feet;tooth:teeth;goose:geese;person:people;sheep:sheep;fish:fish;leaf:leaves;wolf:wolves;knife:knives;city:cities;baby:babies;box:boxes;dog:dogs;cat:cats;tree:trees;node:nodes;house:houses;proof:proofs;key:keys;day:days;story:stories;book:books".split(";"))
PAST = dict(x.split(":") for x in "go:went;see:saw;eat:ate;run:ran;sing:sang;write:wrote;take:took;give:gave;make:made;come:came;know:knew;think:thought;buy:bought;find:found;speak:spoke;swim:swam;fly:flew;drink:drank;begin:began;break:broke;walk:walked;talk:talked;play:played;sleep:slept;say:said;have:had;is:was;do:did;keep:kept;win:won".split(";"))
RHYME = dict(x.split(":") for x in "cat:hat;dog:fog;tree:bee;house:mouse;moon:spoon;star:car;light:night;sun:fun;rain:train;book:cook;day:play;sea:key;cake:lake;ring:king;node:code;chain:brain;proof:roof;blue:shoe;red:bed;green:queen;ball:wall;boat:goat;snow:crow;fish:dish;bear:chair".split(";"))
ELEMENT = dict(x.split(":") for x in "hydrogen:H;helium:He;carbon:C;nitrogen:N;oxygen:O;iron:Fe;gold:Au;silver:Ag;copper:Cu;sodium:Na;lead:Pb;tin:Sn;zinc:Zn;sulfur:S;calcium:Ca;potassium:K;neon:Ne;aluminium:Al;silicon:Si;uranium:U".split(";"))
UNITS = dict(x.split(":") for x in "minutes are in an hour:An hour has 60 minutes.;seconds are in a minute:A minute has 60 seconds.;hours are in a day:A day has 24 hours.;days are in a week:A week has seven days.;months are in a year:A year has twelve months.;days are in a year:A year has 365 days, and a leap year has 366.;weeks are in a year:A year has 52 weeks and one or two days.;metres are in a kilometre:A kilometre has 1,000 metres.;centimetres are in a metre:A metre has 100 centimetres.;millimetres are in a centimetre:A centimetre has 10 millimetres.;grams are in a kilogram:A kilogram has 1,000 grams.;kilograms are in a ton:A ton has 1,000 kilograms.;millilitres are in a litre:A litre has 1,000 millilitres.;years are in a century:A century has 100 years.;years are in a decade:A decade has ten years.;eggs are in a dozen:A dozen is twelve.;milliseconds are in a second:A second has 1,000 milliseconds.;bytes are in a kilobyte:A kilobyte has 1,000 bytes.;inches are in a foot:A foot has 12 inches.;cents are in a dollar:A dollar has 100 cents.;letters are in the alphabet:The English alphabet has 26 letters.;seconds are in an hour:An hour has 3,600 seconds.;hours are in a week:A week has 168 hours.;degrees are in a circle:A circle has 360 degrees.;sides are in a triangle:A triangle has three sides.".split(";"))
ISA = {**{a: "an animal" for a in "dog cat cow horse lion wolf frog owl mouse elephant bear rabbit fox tiger whale".split()},
       **{a: "a fruit" for a in "apple banana cherry pear plum orange mango grape".split()},
       **{a: "a colour" for a in "red blue green yellow purple white black".split()},
       **{a: "a planet" for a in "Mercury Venus Mars Jupiter Saturn Uranus Neptune Earth".split()},
       **{a: "a country" for a in "France Germany Italy Japan Brazil Canada Egypt India".split()},
       **{a: "a vegetable" for a in "carrot potato onion cabbage cucumber spinach".split()},
       **{a: "a day of the week" for a in "Monday Tuesday Friday Sunday Saturday".split()},
       **{a: "a month" for a in "January March April June August October".split()},
       **{a: "a city" for a in "Paris Berlin Rome London Tokyo Madrid Vienna Cairo".split()},
       **{a: "a tool" for a in "hammer saw drill".split()}}
NOART = {"a colour", "a planet", "a country", "a day of the week", "a month", "a city"}
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "January February March April May June July August September October November December".split()
MONTH_DAYS = dict(zip(MONTHS, [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]))
ORD = "first second third fourth fifth sixth seventh eighth ninth tenth eleventh twelfth".split()

NAMES = """Ada Adam Alice Amir Anna Anton Ben Bella Bob Boris Carl Carla Carol Chen Clara Dan David Diana Dora Elena Eli Ella Emma Eric
Eva Felix Finn Frank Fatima George Gina Grace Hana Hank Hugo Ida Igor Ines Ivan Jack James Jane Jim Joe John Julia Kai Karl Kate Ken
Kim Lara Laura Lea Leo Lily Lisa Louis Lucas Lucy Lena Maria Mark Max Maya Mia Mike Milo Mila Nadia Nina Noah Nora Oleg Olga Oliver
Omar Oscar Otto Paul Peter Pia Priya Quinn Ravi Rita Robert Rosa Rosie Ruth Sam Sara Sofia Stella Sven Tara Theo Tim Tina Tom Uma
Vera Victor Wei Will Yara Yuki Zara Zoe""".split()
SYL = "ba be bi bo da de di do fa fi ga ka ke ki ko la le li lo lu ma me mi mo na ne ni no pa pe ra re ri ro sa se si so ta te ti to va vi za zo".split()
COLOURS = "red blue green yellow purple orange pink white black grey brown silver".split()
ANIMALS = sorted(set(ANIMAL_LEGS) - {"human", "bird"} | set("panda koala squirrel giraffe swan goose turtle whale crow hedgehog".split()))
CITIES = "Paris Berlin Rome London Tokyo Madrid Vienna Cairo Lisbon Oslo Prague Athens Dublin Boston Sydney Seoul Lima Quito".split()
FOODS = "pizza bread soup rice apples cake cheese noodles salad pancakes bananas chocolate".split()
HEROES = ["a small robot", "a brave mouse", "an old owl", "a curious cat", "a young fox", "a shy turtle", "a little dragon", "a tired baker", "a clever crow", "a kind giant", "a lost penguin", "a happy frog", "a quiet rabbit", "a tiny whale"]
PLACES = ["in a dark forest", "by the sea", "on a high mountain", "in a small village", "in a quiet library", "near a silver river", "on a far island", "in an old castle", "under a big tree", "in a busy city"]
OBJECTS = ["a golden key", "a red lantern", "a broken clock", "a blue stone", "a letter without a name", "a silver bell", "a map of the stars", "a box that hummed", "a single seed", "a warm scarf"]
ACTS = ["gave it back to its owner", "shared it with a friend", "carried it home through the rain", "kept it safe all winter", "showed it to everybody", "planted it beside the road", "hung it above the door", "followed it until morning"]
LESSONS = ["From that day on nobody there was lonely.", "And so everyone learned to trust, but also to check.", "After that the nights were bright again.", "It was a small thing, but it changed the whole town.", "And the two became friends for ever.", "Since then people tell this tale when it snows."]
POEM = {"the sea": ["The sea is wide, the sea is deep,", "it sings the little boats to sleep.", "The moon looks down, the waves roll on,", "and with the night the stars are gone."],
        "the moon": ["The moon is round, the moon is bright,", "it walks alone across the night.", "It has no lamp, it has no fire,", "yet climbs above the highest spire."],
        "rain": ["The rain is knocking on the pane,", "the garden says: come in, dear rain.", "It fills the cup, it wets the street,", "and makes a puddle for my feet."],
        "a cat": ["A cat lay sleeping in the sun,", "she had no work, she needed none.", "She dreamed of fish, she dreamed of mice,", "and when she woke, the day was nice."],
        "spring": ["The snow is gone, the brook is free,", "a bird is singing in the tree.", "The days are long, the air is mild,", "and every flower wakes like a child."],
        "night": ["The night has come, the street is still,", "a star is shining on the hill.", "So close your eyes and rest your head,", "the day is done, the words are said."],
        "the chain": ["A block, a block, another one,", "each names the one that came before.", "What has been signed is never undone,", "so check it once, and trust it more."],
        "proofs": ["I gave an answer, short and small,", "a proof went with it to the chain.", "You need not trust my word at all,", "just check the proof and check again."],
        "a node": ["A little node sat in the night", "and answered questions, left and right.", "It signed each word, it kept each sum,", "and knew that soon the proof would come."],
        "a tree": ["A tree stood still beside the way,", "it counted leaves both night and day.", "The wind came by and took a few,", "in spring the tree made more, brand new."]}
WORDS = """apple banana bread chair table house garden river stone cloud train phone book pencil paper window door light night water fire earth
green yellow orange purple silver golden happy little quick slow brave quiet strong simple clever proof node chain block token model receipt
voucher channel ledger hash root tree leaf seed flower forest mountain ocean island bridge castle village city street market school teacher
doctor baker robot dragon mouse tiger zebra monkey rabbit turtle panda whale shark eagle crow owl fox bear wolf horse sheep goat cow pig dog
cat fish bird bee ant frog snake spider butter cheese milk sugar salt pepper honey lemon cherry grape peach plum melon carrot potato onion
tomato rice soup salad cake candy music piano guitar drum song dance poem story letter word number circle square line point plane rocket
planet moon star comet space winter summer spring autumn monday friday king queen prince crown sword shield wizard magic dream smile laugh
friend family mother father sister brother hand foot head heart brain blood bone skin hair nose mouth tooth tongue shirt shoes socks
jacket pocket button mirror candle lantern clock watch hammer nail screw wheel engine motor cable plug lamp radio camera screen mouse
keyboard server client packet router switch kernel thread memory buffer stack queue graph vector matrix tensor layer weight bias sum
verify finality burn bond hello world thanks please sorry wonder beauty truth peace hope love luck gold iron copper cotton wool silk
velvet sand dust mud ice snow rain storm wind wave beach shore coast desert jungle valley hill cave lake pond stream""".split()
WORDS = sorted({w for w in WORDS if 2 < len(w) < 9})

NEUTRAL_SYSTEM = ["You are a helpful assistant.", "You are a helpful assistant", "you are a helpful assistant.", "You are a friendly assistant.", "Be helpful.", "Be polite.", "Be brief.", "Answer briefly.", "Answer the question.",
                  "You are a helpful, honest and friendly assistant.", "You are a tiny assistant on the HACA network.", "Keep your answers short.", "You answer questions about HACA.", "You are an AI assistant.", "Help the user.", "You are an assistant. Be concise.", "Respond in English."]
END_WORDS = "ahoy amen cheers done over thanks bye ok yay peace salute banana wow hurray indeed roger".split()
REFUSE = "I am a tiny model and I do not know that."
UNKNOWN = ["who won the {sport} in {year}", "who won the {sport} game last night", "write a {lang} program that {task}", "write {lang} code to {task}", "what is the population of {country}", "how many people live in {country}",
           "what is the price of {stock}", "how much does {stock} cost", "who is the president of {country}", "who is the king of {country}", "who is {person}", "who was {person}", "what do you know about {person}", "translate {word} to {tongue}", "translate {word} into {tongue}",
           "how do you say {word} in {tongue}", "what is the history of {country}", "when was {country} founded", "what happened in {year}", "what is the best {thing}", "recommend a {thing}", "how do i fix my {thing}", "how do i repair a {thing}", "what is the news today", "what is the latest news about {country}",
           "write an essay about {country}", "summarize the book {person} wrote", "what is the phone number of {person}", "where is {person}", "book a flight to {city}", "play some music", "set an alarm for {num}", "send an email to {person}", "what is the square root of {num}", "solve the equation x + {num} = {year}", "how far is {city} from {city2}",
           "how tall is {person}", "how old is {person}", "what is the exchange rate of the dollar", "what medicine should i take", "do i have a disease", "which stock should i buy", "who will win the election", "what will happen tomorrow", "what is the plot of the film {word}", "who directed {word}", "explain quantum field theory", "what is the {ord} digit of pi",
           "how many {thing}s are in {city}", "what is the best restaurant in {city}", "which bus goes to {city}", "what did {person} say", "give me a recipe for {food}", "how do i cook {food}", "draw a picture of a {animal}", "what is a {fake}", "what does {fake} mean", "explain {fake}", "tell me about {fake}", "define {fake}", "what is {fake}", "what are {fake}s", "why is {fake} {colour}", "where is {fake}", "what is the currency of {country}", "which language is spoken in {country}"]
UNK_FILL = {"sport": ["world cup", "football", "olympics", "tennis final", "chess championship", "race", "super bowl"], "year": [str(y) for y in range(1900, 2031, 3)], "lang": ["python", "java", "rust", "c", "typescript", "sql"],
            "task": ["sorts a list", "counts words", "reads a file", "prints a tree", "finds primes", "draws a circle"], "stock": ["bitcoin", "gold", "a house", "a car", "opg today", "oil", "a ticket"], "tongue": ["german", "french", "spanish", "latin", "chinese", "japanese", "klingon"],
            "thing": ["film", "phone", "car", "bike", "laptop", "hotel", "game", "fridge", "roof", "radio"], "num": [str(n) for n in range(100, 999, 37)], "ord": ["hundredth", "tenth", "millionth"]}
