"""Training at several sites: images stay where they are, weights travel. On Flower (the extra ``federated``).

Sources: FedAvg (McMahan et al., AISTATS 2017, arXiv:1602.05629), FedProx (Li et al., MLSys 2020, arXiv:1812.06127).
Flower's present API, a SuperLink and its SuperNodes, sends the program of a run to the sites, which execute it. Here a
site runs only the DeepSeg that it installed, so the server and its clients are Flower's functions that exchange weights
alone; :mod:`.flower` is the one place that depends on them.
"""
