"""The refiner: what an adapter does, in words, in vectors and on weights.

passages.py   which texts of an adapter speak for it
embedders.py  texts -> vectors, by a model that is on this machine or on a hub
bert.py       sentence models of the BERT kind, read straight from their files
bert_numpy.py, bert_torch.py   what computes one: a few texts at once, or many
embed.py      keeps the catalogue's vectors up to date; resumable, nothing is embedded twice
clip.py       pictures and texts -> vectors of one space, by a CLIP model; clip_input.py: what such a model is shown
picture_file.py   opens the pictures that people have, within limits
pictures.py   keeps the vectors of the pictures beside adapters up to date
refine.py     has adapters described; resumable, nothing is asked twice; undescribed.py: which, and what that would
              take; asking.py: many at once; refine_report.py: what was done
card.py       describes by rules over the card, without any model; prose.py, facets.py: its sentences and facets
vlm.py        describes by a language model that sees pictures; vlm_text.py, vlm_answer.py: what it is told, and says
local_vlm.py  the same by a model on this machine
batch.py      the same in batches, within a day; batch_files.py, batch_ledger.py, batch_service.py: what for
shown.py      which pictures a model is shown; picture_fetch.py: those of sites
interrogate.py   puts pictures into words by CLIP; word_lists.py: the words; interrogate_llm.py: by a language model
weights.py    keeps what adapters do to weights up to date, and finds the files that do the same
"""
