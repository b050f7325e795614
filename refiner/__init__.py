"""The refiner: what an adapter does, in words, in vectors and on weights.

passages.py   which texts of an adapter speak for it
embedders.py  texts -> vectors, by a model that is on this machine or on a hub
bert.py       sentence models of the BERT kind, read straight from their files
bert_numpy.py, bert_torch.py   what computes one: a few texts at once, or many
embed.py      keeps the catalogue's vectors up to date; resumable, nothing is embedded twice
clip.py       pictures and texts -> vectors of one space, by a CLIP model; clip_input.py: what such a model is shown
picture_file.py   opens the pictures that people have, within limits
pictures.py   keeps the vectors of the pictures beside adapters up to date
weights.py    keeps what adapters do to weights up to date, and finds the files that do the same
"""
