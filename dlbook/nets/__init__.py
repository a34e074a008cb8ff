"""Layers, models that are made of them, the loop that trains them, and what checks a model.

Names are imported from here: ``from dlbook.nets import MLP, fit``.
"""

from dlbook.nets.attention import LuongAttention, MultiHeadAttention, PositionalEncoding
from dlbook.nets.autoencoders import Autoencoder, ConvAutoencoder
from dlbook.nets.blocks import Positions, Scale, Tied, TransformerBlock
from dlbook.nets.cached import Cache, Reader
from dlbook.nets.captioning import Captioner
from dlbook.nets.check import Report, check_model
from dlbook.nets.checkpoint import Checkpoint
from dlbook.nets.cnn import CNN
from dlbook.nets.containers import Container, Parallel, Residual, Sequential
from dlbook.nets.conv import Conv2d, ConvTranspose2d
from dlbook.nets.costs import Bernoulli, Cost, Gaussian, MeanSquare, SoftmaxCrossEntropy, Together
from dlbook.nets.diffusion import Denoiser
from dlbook.nets.embeddings import Vectors, train_skipgram
from dlbook.nets.encoder_decoder import AttentiveDecoder, EncoderDecoder
from dlbook.nets.game import Played, Scores, play
from dlbook.nets.gan import GAN, Players
from dlbook.nets.images import AvgPool2d, GlobalPool, MaxPool2d, MaxUnpool2d, Shift, Upsample
from dlbook.nets.layer import Layer, Step, new_step
from dlbook.nets.layers import Activation, Dense, Dropout, Embedding, Noise, Reshape
from dlbook.nets.looking import LookingLSTM, Places
from dlbook.nets.loop import fit
from dlbook.nets.mlp import MLP, Layers, Running
from dlbook.nets.model import Diverged, Fitted, History, Model
from dlbook.nets.network import Composition, Network, Signal
from dlbook.nets.norms import BatchNorm, LayerNorm
from dlbook.nets.padded import PaddedNetwork
from dlbook.nets.penalties import Contractive, Sparse
from dlbook.nets.recurrent import GRU, LSTM, RNN
from dlbook.nets.recurrent_network import RecurrentNetwork
from dlbook.nets.reuse import Frozen, Repeat
from dlbook.nets.rows import Bidirectional, Last
from dlbook.nets.seq2seq import Seq2Seq
from dlbook.nets.sequences import SequenceNetwork
from dlbook.nets.shards import ShardError
from dlbook.nets.style import Styled, Transfer, random_filters, reduced, style_distances
from dlbook.nets.symbols import fit_stream
from dlbook.nets.transformer import Transformer
from dlbook.nets.variational import VAE, Bound, Latent
from dlbook.nets.viewing import maps_of, taught, viewer
from dlbook.nets.vision import Detection, Found, backbone, box_ap, detector, named_ap, segmenter

__all__ = [
    "GAN",
    "Played",
    "Players",
    "Scores",
    "play",
    "Activation",
    "AttentiveDecoder",
    "Autoencoder",
    "AvgPool2d",
    "BatchNorm",
    "GRU",
    "LSTM",
    "RNN",
    "Bernoulli",
    "Bidirectional",
    "Bound",
    "CNN",
    "Cache",
    "Captioner",
    "Checkpoint",
    "Composition",
    "Container",
    "Contractive",
    "Conv2d",
    "ConvAutoencoder",
    "ConvTranspose2d",
    "Cost",
    "Denoiser",
    "Dense",
    "Detection",
    "Diverged",
    "Dropout",
    "Embedding",
    "EncoderDecoder",
    "Fitted",
    "Found",
    "Frozen",
    "Gaussian",
    "GlobalPool",
    "History",
    "Last",
    "Latent",
    "Layer",
    "LayerNorm",
    "Layers",
    "LookingLSTM",
    "MLP",
    "LuongAttention",
    "MaxPool2d",
    "MaxUnpool2d",
    "MultiHeadAttention",
    "MeanSquare",
    "Model",
    "Network",
    "Noise",
    "PaddedNetwork",
    "Parallel",
    "Places",
    "PositionalEncoding",
    "Positions",
    "RecurrentNetwork",
    "Reader",
    "Repeat",
    "Report",
    "Reshape",
    "Residual",
    "Running",
    "Seq2Seq",
    "Scale",
    "SequenceNetwork",
    "Sequential",
    "Signal",
    "ShardError",
    "Shift",
    "SoftmaxCrossEntropy",
    "Sparse",
    "Step",
    "Styled",
    "Tied",
    "Together",
    "Transfer",
    "Transformer",
    "TransformerBlock",
    "Upsample",
    "VAE",
    "Vectors",
    "backbone",
    "box_ap",
    "check_model",
    "detector",
    "fit",
    "fit_stream",
    "train_skipgram",
    "maps_of",
    "named_ap",
    "new_step",
    "random_filters",
    "reduced",
    "segmenter",
    "style_distances",
    "taught",
    "viewer",
]
