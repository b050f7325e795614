"""The words that pictures are put into: lists of our own, of what there is to see and of how it may be painted.

The artists are of art history: none was alive after 1957.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

_MEDIUMS: Final = """
a photograph; a black and white photograph; a colour photograph; a portrait photograph; a close-up photograph; a macro
photograph; an aerial photograph; a long exposure photograph; a studio photograph; a product photograph; a wildlife
photograph; a landscape photograph; a street photograph; a fashion photograph; a food photograph; an old photograph; a
sepia photograph; a faded snapshot; an instant photograph; a film still; a screenshot of a video game; a pinhole
photograph; a daguerreotype; a tintype; a cyanotype; an infrared photograph; an X-ray image; a satellite image; a
painting; an oil painting; an acrylic painting; a watercolour; a gouache painting; a tempera painting; an encaustic
painting; a fresco; a mural; a portrait painting; a landscape painting; a still life; an impasto painting; a digital
painting; a matte painting; a speed painting; an airbrush painting; a spray paint stencil; graffiti on a wall; a
finger painting; an ink wash painting; a brush and ink drawing; a pen and ink drawing; a pencil drawing; a coloured
pencil drawing; a charcoal drawing; a chalk drawing; a pastel drawing; a crayon drawing; a marker drawing; a ballpoint
pen drawing; a sketch; a rough storyboard sketch; a line drawing; a child's drawing; a caricature; a cartoon; a comic
book panel; a comic strip; a manga page; an anime screenshot; a cel-shaded illustration; a children's book
illustration; a botanical illustration; a scientific illustration; a technical drawing; an architectural drawing; a
blueprint; a diagram; an infographic; a map; a vector illustration; a flat design illustration; a silhouette; a logo;
an icon; a sticker; a poster; a travel poster; a movie poster; a book cover; an album cover; a postage stamp; a
playing card; a tarot card; an engraving; an etching; a woodcut; a linocut; a lithograph; a screen print; a mezzotint;
a risograph print; concept art; a character sheet; pixel art; voxel art; a low poly model; an isometric illustration;
a 3D render; a clay render; a ray traced image; a wireframe model; a sculpture; a marble statue; a bronze statue; a
wood carving; an ice sculpture; a ceramic figure; a clay figure; a plastic toy; a paper cut-out; an origami model; a
collage; a mosaic; a stained glass window; a tapestry; an embroidery; a quilt; a knitted figure; a felt figure; a
relief; an illuminated manuscript; a neon sign; a hologram; a doodle; a stipple drawing; a scratchboard drawing; a
double exposure
"""


_SUBJECTS: Final = """
a woman; a man; a girl; a boy; a baby; an old woman; an old man; a couple; a family; a group of people; a crowd; a
bride; a king; a queen; a princess; a prince; a knight; a samurai; a ninja; a soldier; a warrior; a pirate; a cowboy;
a wizard; a witch; an elf; a dwarf; a fairy; a mermaid; an angel; a demon; a vampire; a zombie; a skeleton; a ghost; a
giant; a goblin; an orc; a centaur; a superhero; a robot; an android; a cyborg; an alien; an astronaut; a scientist; a
doctor; a nurse; a teacher; a student; a chef; a farmer; a fisherman; a hunter; a blacksmith; a painter at work; a
musician; a singer; a dancer; a ballerina; an acrobat; a clown; an athlete; a boxer; a runner; a cyclist; a surfer; a
skier; a football player; a monk; a nun; a priest; a shaman; a merchant; a beggar; a detective; a police officer; a
firefighter; a pilot; a sailor; a diver; a worker; a person reading; a person sleeping; a person walking; a person
dancing; a face; an eye; a pair of hands; a masked person; a cat; a kitten; a dog; a puppy; a wolf; a fox; a bear; a
polar bear; a panda; a lion; a tiger; a leopard; a black panther; an elephant; a rhinoceros; a hippopotamus; a
giraffe; a zebra; a horse; a unicorn; a donkey; a cow; a bull; a sheep; a goat; a pig; a deer; a stag; a moose; a
camel; a kangaroo; a koala; a monkey; a gorilla; an ape; a rabbit; a hare; a squirrel; a mouse; a rat; a hedgehog; a
badger; an otter; a beaver; a raccoon; a bat; a seal; a whale; a dolphin; a shark; a fish; a goldfish; an octopus; a
squid; a jellyfish; a crab; a lobster; a turtle; a frog; a toad; a lizard; a chameleon; a crocodile; a snake; a
dragon; a dinosaur; a phoenix; a griffin; a sea monster; a bird; an owl; an eagle; a hawk; a raven; a crow; a parrot;
a peacock; a swan; a duck; a goose; a chicken; a rooster; a penguin; a flamingo; a heron; a hummingbird; a dove; a
butterfly; a moth; a bee; a beetle; a ladybird; a dragonfly; a spider; an ant; a snail; a flower; a rose; a tulip; a
sunflower; a lotus; a bouquet of flowers; a cactus; a mushroom; a tree; an old oak; a pine tree; a palm tree; a
bonsai; a blossoming cherry tree; a leaf; a fern; ivy; an apple; an orange; a lemon; a bunch of grapes; a strawberry;
a pumpkin; a loaf of bread; a cake; a cupcake; a pizza; a hamburger; a bowl of noodles; a plate of sushi; a bowl of
soup; a salad; an ice cream; a cup of coffee; a cup of tea; a glass of wine; a bottle; a jar; a teapot; a vase; a
candle; a lamp; a lantern; a book; a stack of books; a scroll; a letter; a clock; a pocket watch; a mirror; a key; a
lock; a crown; a ring; a necklace; a jewel; a crystal; a coin; a treasure chest; a sword; a shield; a suit of armour;
a bow and arrow; an axe; a helmet; a mask; a hat; a dress; a kimono; a coat; a pair of shoes; a handbag; an umbrella;
a chair; an armchair; a table; a bed; a bookshelf; a piano; a guitar; a violin; a drum; a camera; a typewriter; a
computer; a telephone; a television; a radio; a machine; a clockwork mechanism; a toy; a teddy bear; a doll; a puppet;
a balloon; a kite; a bicycle; a motorcycle; a car; a sports car; a vintage car; a truck; a bus; a tram; a train; a
steam locomotive; an aeroplane; a biplane; a helicopter; a hot air balloon; an airship; a rocket; a spaceship; a space
station; a flying saucer; a satellite; a boat; a sailing ship; a submarine; a lighthouse; a giant robot; a tank; a
house; a cottage; a cabin; a mansion; a castle; a tower; a palace; a church; a cathedral; a temple; a pagoda; a
mosque; a pyramid; a ruin; a bridge; a windmill; a watermill; a farm; a barn; a factory; a skyscraper; a city skyline;
a village; a street; a market; a shop; a cafe; a library; a museum; a theatre; a train station; a harbour; a garden; a
park; a fountain; a statue; a staircase; a doorway; a gate; a window; a room; a kitchen; a bedroom; a living room; a
bathroom; an office; a classroom; a laboratory; a workshop; a throne room; a dungeon; a mountain; a volcano; a canyon;
a cliff; a cave; a waterfall; a river; a lake; a pond; an island; a beach; a wave; a forest path; a field of flowers;
a field of wheat; a hill; a valley; a glacier; an iceberg; a dune; an oasis; a swamp; a coral reef; clouds; a storm; a
lightning bolt; a rainbow; the moon; the sun; a planet; a galaxy; a nebula; a black hole; a comet; a starry sky; an
aurora; a fire; an explosion; smoke; a drop of water; an abstract shape; a geometric pattern; a floral pattern; a
spiral; a maze; a portal; a battle; a procession; a feast; a parade; a wedding; a concert; a festival; a chess board;
a pair of wings; a human heart; a skull; a brain; a tea party; a snowman
"""


_SETTINGS: Final = """
at dawn; at sunrise; at noon; at sunset; at dusk; at twilight; at night; under a starry sky; under a full moon; in the
moonlight; in the rain; in a thunderstorm; in the fog; in the mist; in the snow; in a blizzard; in the wind; under a
clear blue sky; under a cloudy sky; under a red sky; in spring; in summer; in autumn; in winter; in a forest; in a
dark forest; in a bamboo forest; in a birch forest; in a rainforest; in a jungle; in a meadow; in a field; in a wheat
field; in a field of flowers; in a garden; in a Japanese garden; in an orchard; in a vineyard; in a park; in a desert;
among sand dunes; in a canyon; in the mountains; on a mountain top; on a hill; in a valley; on a cliff; in a cave;
beside a waterfall; beside a river; on a lake; beside a pond; in a swamp; on a beach; by the sea; on the open sea;
under water; on a coral reef; on an island; in the arctic; on the ice; on the steppe; on the savannah; beside a
volcano; in a city; in a big city; in an old town; in a ruined city; in a futuristic city; in an underwater city; in a
village; on a farm; in a narrow alley; on a busy street; on an empty road; on a bridge; on a rooftop; on a balcony; in
a courtyard; on a market square; in a market; in a harbour; at a train station; inside a train; inside a car; in a
subway station; at an airport; in a factory; in a warehouse; in a workshop; in a laboratory; in a library; in a
museum; in a gallery; in a theatre; on a stage; in a concert hall; in a nightclub; in a bar; in a cafe; in a
restaurant; in a kitchen; in a living room; in a bedroom; in a bathroom; in an attic; in a cellar; in an office; in a
classroom; in a hospital; in a church; in a cathedral; in a temple; in a monastery; in a graveyard; in a castle; in a
throne room; in a ballroom; in a dungeon; in a ruin; in a greenhouse; in a stadium; in a swimming pool; in outer
space; on the moon; on an alien planet; inside a spaceship; among the clouds; in the sky; on a floating island; in a
dream world; in a fairy tale world; in a wasteland; after the end of the world; in ancient Egypt; in ancient Greece;
in ancient Rome; in the Middle Ages; in the Renaissance; in the nineteenth century; in the 1920s; in the 1950s; in the
1980s; in the far future; on a white background; on a black background; on a grey background; on a plain background;
on a colourful background; on a gradient background; on a wooden table; on a marble floor; in front of a brick wall;
in front of a window; in front of a mirror; surrounded by flowers; surrounded by candles; surrounded by books;
surrounded by people
"""


_MOVEMENTS: Final = """
abstract art; abstract expressionism; academic art; aestheticism; afrofuturism; American realism; ancient Egyptian
art; ancient Greek vase painting; anime style; art brut; art deco; art nouveau; arts and crafts; the Ashcan school;
Aztec art; Barbizon school; baroque; Bauhaus; Biedermeier; biopunk; brutalism; Byzantine art; Celtic art; chiaroscuro
painting; Chinese ink painting; classicism; cloisonnism; colour field painting; conceptual art; constructivism;
cubism; cyberpunk; dada; dark fantasy; De Stijl; dieselpunk; divisionism; Dutch golden age painting; expressionism;
fantasy art; fauvism; figurative art; film noir; folk art; futurism; geometric abstraction; German expressionism;
gothic art; graffiti art; hard science fiction; heraldic art; high fantasy; Hudson River School; hyperrealism;
impressionism; international gothic; Islamic miniature; Italian Renaissance; Japanese woodblock print; Japonisme; junk
art; kawaii style; kinetic art; kitsch; land art; lowbrow art; luminism; magical realism; mannerism; maximalism; Mayan
art; mid-century modern; minimalism; modernism; Mughal painting; naive art; naturalism; neoclassicism;
neo-expressionism; neo-impressionism; northern Renaissance; op art; orientalism; orphism; outsider art; Persian
miniature; photorealism; pictorialism; plein air painting; pointillism; pop art; post-impressionism; prehistoric cave
painting; Pre-Raphaelite painting; primitivism; psychedelic art; pulp magazine art; purism; rayonism; realism;
regionalism; retrofuturism; rococo; Romanesque art; romanticism; Russian icon painting; sacred art; sci-fi art; the
Secession; social realism; socialist realism; solarpunk; steampunk; still life painting; street art; suprematism;
surrealism; symbolism; synthetism; synthwave; tachisme; tenebrism; tonalism; trompe l'oeil; ukiyo-e; vanitas;
vaporwave; verism; Viking art; vorticism
"""


_ARTISTS: Final = """
Hieronymus Bosch; Pieter Bruegel the Elder; Jan van Eyck; Rogier van der Weyden; Hans Memling; Hugo van der Goes;
Albrecht Dürer; Lucas Cranach the Elder; Hans Holbein the Younger; Matthias Grünewald; Albrecht Altdorfer; Martin
Schongauer; Giotto; Cimabue; Duccio; Simone Martini; Fra Angelico; Masaccio; Paolo Uccello; Piero della Francesca;
Filippo Lippi; Sandro Botticelli; Andrea Mantegna; Giovanni Bellini; Antonello da Messina; Leonardo da Vinci;
Michelangelo; Raphael; Giorgione; Titian; Tintoretto; Paolo Veronese; Correggio; Parmigianino; Bronzino; Pontormo;
Giuseppe Arcimboldo; Sofonisba Anguissola; El Greco; Caravaggio; Artemisia Gentileschi; Annibale Carracci; Guido Reni;
Guercino; Gian Lorenzo Bernini; Peter Paul Rubens; Anthony van Dyck; Jacob Jordaens; Rembrandt; Frans Hals; Judith
Leyster; Johannes Vermeer; Jan Steen; Pieter de Hooch; Gerard ter Borch; Jacob van Ruisdael; Aelbert Cuyp; Willem
Kalf; Rachel Ruysch; Jan Davidsz. de Heem; Diego Velázquez; Francisco de Zurbarán; Bartolomé Esteban Murillo; Jusepe
de Ribera; Georges de La Tour; Nicolas Poussin; Claude Lorrain; Antoine Watteau; François Boucher; Jean-Honoré
Fragonard; Jean Siméon Chardin; Canaletto; Francesco Guardi; Giovanni Battista Tiepolo; Giovanni Battista Piranesi;
William Hogarth; Thomas Gainsborough; Joshua Reynolds; George Stubbs; Joseph Wright of Derby; Henry Fuseli; William
Blake; Angelica Kauffman; Elisabeth Vigée Le Brun; Jacques-Louis David; Jean-Auguste-Dominique Ingres; Théodore
Géricault; Eugène Delacroix; Francisco Goya; Caspar David Friedrich; Philipp Otto Runge; Carl Spitzweg; J. M. W.
Turner; John Constable; John Martin; Samuel Palmer; Thomas Cole; Frederic Edwin Church; Albert Bierstadt; Asher Brown
Durand; Camille Corot; Jean-François Millet; Gustave Courbet; Honoré Daumier; Rosa Bonheur; Gustave Doré; Jean-Léon
Gérôme; William-Adolphe Bouguereau; Alexandre Cabanel; Lawrence Alma-Tadema; Frederic Leighton; John Everett Millais;
Dante Gabriel Rossetti; William Holman Hunt; Edward Burne-Jones; John William Waterhouse; Evelyn De Morgan; William
Morris; Walter Crane; Kate Greenaway; Beatrix Potter; Arthur Rackham; Edmund Dulac; Kay Nielsen; Aubrey Beardsley;
John Tenniel; Ivan Bilibin; Ivan Shishkin; Ivan Aivazovsky; Ilya Repin; Isaac Levitan; Arkhip Kuindzhi; Viktor
Vasnetsov; Mikhail Vrubel; Nicholas Roerich; Valentin Serov; Édouard Manet; Claude Monet; Edgar Degas; Pierre-Auguste
Renoir; Camille Pissarro; Alfred Sisley; Berthe Morisot; Mary Cassatt; Gustave Caillebotte; Frédéric Bazille; Georges
Seurat; Paul Signac; Paul Cézanne; Vincent van Gogh; Paul Gauguin; Henri de Toulouse-Lautrec; Henri Rousseau; Odilon
Redon; Gustave Moreau; Pierre Puvis de Chavannes; Arnold Böcklin; Franz von Stuck; Fernand Khnopff; James Ensor;
Edvard Munch; Vilhelm Hammershøi; Peder Severin Krøyer; Anders Zorn; Carl Larsson; John Bauer; Akseli Gallen-Kallela;
Theodor Kittelsen; Gustav Klimt; Egon Schiele; Koloman Moser; Alphonse Mucha; Jules Chéret; Hector Guimard; Antoni
Gaudí; Joaquín Sorolla; John Singer Sargent; James McNeill Whistler; Winslow Homer; Thomas Eakins; George Inness;
Frederic Remington; Howard Pyle; N. C. Wyeth; J. C. Leyendecker; Winsor McCay; Robert Henri; George Bellows; Childe
Hassam; Ernst Ludwig Kirchner; Franz Marc; August Macke; Paula Modersohn-Becker; Wassily Kandinsky; Paul Klee; Käthe
Kollwitz; Lyonel Feininger; Kazimir Malevich; El Lissitzky; Lyubov Popova; Piet Mondrian; Theo van Doesburg; Umberto
Boccioni; Amedeo Modigliani; Chaim Soutine; Henri Matisse; André Derain; Raoul Dufy; Robert Delaunay; Juan Gris;
Fernand Léger; Francis Picabia; Kurt Schwitters; László Moholy-Nagy; Max Beckmann; Frida Kahlo; Hilma af Klint;
Auguste Rodin; Camille Claudel; Constantin Brâncuși; Julia Margaret Cameron; Nadar; Eugène Atget; Alfred Stieglitz;
Katsushika Hokusai; Utagawa Hiroshige; Utagawa Kuniyoshi; Kitagawa Utamaro; Tōshūsai Sharaku; Tsukioka Yoshitoshi;
Ohara Koson; Ogata Kōrin; Sesshū Tōyō; Itō Jakuchū; Fan Kuan; Guo Xi; Bada Shanren; Shitao; Qi Baishi; Kamāl ud-Dīn
Behzād; Raja Ravi Varma; Amrita Sher-Gil; José Guadalupe Posada
"""


_LIGHTING: Final = """
soft light; hard light; natural light; window light; diffuse daylight; bright sunlight; dappled sunlight; golden hour
light; blue hour light; warm evening light; cold morning light; moonlight; starlight; candlelight; firelight;
lamplight; lantern light; torchlight; neon light; fluorescent light; street light; spotlight; stage light; studio
light; softbox light; ring light; rim light; back light; side light; light from below; light from above; low key
lighting; high key lighting; dramatic lighting; moody lighting; cinematic lighting; volumetric light; god rays; light
through leaves; light through fog; light through stained glass; underwater light; glowing light; bioluminescence;
iridescence; lens flare; bokeh; light leaks; long shadows; deep shadows; strong contrast; low contrast; silhouetted
against the light; overexposed; underexposed; flash photography; infrared light; ultraviolet light; laser light;
fireworks; sparks; reflections on water; reflections on wet asphalt; caustics; global illumination; ambient occlusion;
subsurface scattering; chiaroscuro; tenebrist light
"""


_FLAVOURS: Final = """
highly detailed; intricate details; fine lines; bold outlines; thick outlines; no outlines; clean lines; loose
brushwork; visible brush strokes; thick paint; smooth shading; cel shading; cross-hatching; stippling; halftone dots;
film grain; noise; sharp focus; soft focus; shallow depth of field; deep focus; motion blur; tilt-shift; wide angle;
fisheye view; telephoto view; close-up; extreme close-up; full body; half length; portrait orientation; view from
above; bird's-eye view; view from below; worm's-eye view; side view; view from behind; front view; three-quarter view;
first-person view; over the shoulder; isometric view; one-point perspective; forced perspective; symmetrical;
asymmetrical; centred composition; rule of thirds; diagonal composition; crowded composition; empty space; minimal;
ornate; decorative border; framed; vignette; panoramic; diptych; triptych; grid of pictures; repeating pattern;
seamless texture; fractal; kaleidoscopic; geometric; organic shapes; flowing lines; angular; round shapes; swirling;
vibrant colours; muted colours; pastel colours; earth tones; warm colours; cold colours; neon colours; monochrome;
black and white; sepia tones; duotone; limited palette; complementary colours; red and gold; blue and orange; teal and
orange; purple and pink; green tones; blue tones; red tones; yellow tones; rainbow colours; gold leaf; silver; copper;
rust; chrome; glass; porcelain; marble; wood grain; paper texture; canvas texture; fabric folds; fur; feathers;
scales; leather; lace; velvet; silk; metal; stone; cracked paint; worn; dirty; weathered; overgrown; ancient;
futuristic; vintage; retro; nostalgic; elegant; cute; funny; whimsical; playful; silly; peaceful; calm; serene; cosy;
joyful; romantic; melancholic; lonely; mysterious; eerie; creepy; frightening; dark; gloomy; ominous; epic; majestic;
heroic; dynamic; energetic; chaotic; violent; tense; dreamy; ethereal; magical; mystical; sacred; surreal; absurd;
realistic; lifelike; stylised; simplified; cartoonish; exaggerated; distorted; glitchy; blurry; pixelated; low
resolution; transparent; translucent; glossy; matte; wet; frozen; burning; melting; floating; falling; flying;
running; dancing; sitting; standing; lying down; smiling; laughing; crying; angry; surprised; thoughtful; sleeping;
looking at the viewer; looking away; eyes closed; long hair; short hair; curly hair; red hair; blond hair; white hair;
a beard; freckles; tattoos; wearing glasses; wearing a hat; wearing a crown; wearing armour; wearing a cloak; wearing
a suit; wearing a dress; wearing a uniform; holding a sword; holding a book; holding flowers; riding a horse; smoke
and mist; falling snow; falling rain; falling leaves; falling petals; drifting dust; bubbles; flowers; vines; stars;
clouds; birds in the sky; butterflies; handwriting; printed letters; a signature; award-winning; museum quality; a
masterpiece; amateurish; unfinished
"""


LISTS: Final[Mapping[str, tuple[str, ...]]] = {
    name: tuple(entry.strip() for entry in entries.replace("\n", " ").split(";"))
    for name, entries in (
        ("mediums", _MEDIUMS),
        ("subjects", _SUBJECTS),
        ("settings", _SETTINGS),
        ("movements", _MOVEMENTS),
        ("artists", _ARTISTS),
        ("lighting", _LIGHTING),
        ("flavours", _FLAVOURS),
    )
}
"""Each list by its name."""
