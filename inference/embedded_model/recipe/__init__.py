"""How the embedded model was made, from the first drawn pixel to the measured folder.

Reading order: `drawing` and `scenes` draw, `captions` says, `prepare` writes the training data,
`architecture` names the networks, the three `train_*` modules fit them, `export` puts the folder together,
`evaluate` and `sheet` judge it. `grammar` and `checker` read a prompt back and judge one picture by its
pixels; they need no torch.
"""
