"""What may stand in a `.tflite` and in the header of a `.litertlm`: TFLite's schema as layouts.

A layout lists a table's fields in the order of their numbers: `1`, `2`, `4`, `8` a number of so
many bytes, `s` a text, `Name` a table, `?Name` one table of a union (the field before it says
which), `[` a vector of what follows, `x` a number that is gone. Options without fields are `-`.

The schema: TensorFlow Lite, `schema.fbs`, version 3, as ai-edge-litert 2.3 ships it.
"""

from __future__ import annotations

__all__ = ["HEADER", "TABLES", "UNIONS"]

_LAYOUTS = """
Model: 4 [OperatorCode [SubGraph s [Buffer [4 [Metadata [SignatureDef [ExternalBufferGroup
  [ExternalBuffer
OperatorCode: 1 s 4 4
SubGraph: [Tensor [4 [4 [Operator s 4
Tensor: [4 1 4 s QuantizationParameters 1 SparsityParameters [4 1 [VariantSubType 4
Operator: 4 [4 [4 1 ?BuiltinOptions [1 1 [1 [4 8 8 1 ?BuiltinOptions2 4
Buffer: [1 8 8
Metadata: s 4
SignatureDef: [TensorMap [TensorMap s x 4
TensorMap: s 4
CustomQuantization: [1
BlockwiseQuantization: 4 4 4 [4
MultiAxisQuantization: 4 4 4 [4
QuantizationParameters: [4 [4 [4 [8 1 ?QuantizationDetails 4
Int32Vector: [4
Uint16Vector: [2
Uint8Vector: [1
DimensionMetadata: 1 4 1 ?SparseIndexVector 1 ?SparseIndexVector
SparsityParameters: [4 [4 [DimensionMetadata
VariantSubType: [4 1 1
ExternalBufferGroup: s
ExternalBuffer: 4 4 8 8 s
"""

# Tables of options, "Options" left out of their names.
_OPTIONS = """
StablehloGather: [8 [8 [8 8 [8 1
StablehloTranspose: [8
StablehloDotGeneral: [8 [8 [8 [8 [4
StablehloReduceWindow: [8 [8 [8 [8 [8 4
StablehloWhile: 4 4
StablehloSort: 8 1 4
StablehloConcatenate: 8
StablehloBroadcastInDim: [8
StablehloCompare: 4 4
StablehloDynamicSlice: [8
StablehloPad: [8 [8 [8
StablehloIota: 8
StablehloCustomCall: s 1 s 4 [4 [1
StablehloReduce: [8 4
StablehloSlice: [8 [8 [8
StablehloConvolution: [8 [8 [8 [8 [1 8 8 [8 8 8 [8 8 8 [8 8 8 [4
StablehloScatter: 1 [8 [8 [8 8 1 4
StablehloCase: [4
StablehloRngBitGenerator: 1
Conv2D: 1 4 4 1 4 4 1
Conv3D: 1 4 4 4 1 4 4 4
Pool2D: 1 4 4 4 4 1
DepthwiseConv2D: 1 4 4 4 1 4 4
ConcatEmbeddings: 4 [4 [4
LSHProjection: 1
SVDF: 4 1 1
RNN: 1 1
SequenceRNN: 1 1 1
BidirectionalSequenceRNN: 1 1 1 1
FullyConnected: 1 1 1 1 1 [1
Softmax: 4
Concatenation: 4 1
Add: 1 1
Mul: 1
L2Norm: 1
LocalResponseNormalization: 4 4 4 4
LSTM: 1 4 4 1 1
UnidirectionalSequenceLSTM: 1 4 4 1 1 1
BidirectionalSequenceLSTM: 1 4 4 1 1 1
ResizeBilinear: x x 1 1
ResizeNearestNeighbor: 1 1
Call: 4
Reshape: [4
SkipGram: 4 4 1
SpaceToDepth: 4
DepthToSpace: 4
Sub: 1 1
Div: 1
EmbeddingLookupSparse: 1
Gather: 4 4
Reducer: 1
Squeeze: [4
Split: 4
SplitV: 4
StridedSlice: 4 4 4 4 4 1
Cast: 1 1
ArgMax: 1
ArgMin: 1
TransposeConv: 1 4 4 1 1
SparseToDense: 1
Shape: 1
FakeQuant: 4 4 4 1
Pack: 4 4
OneHot: 4
Unpack: 4 4
LeakyRelu: 4
MirrorPad: 1
Unique: 1
ReverseSequence: 4 4
If: 4 4
CallOnce: 4
While: 4 4
BatchMatMul: 1 1 1
Cumsum: 1 1
Hashtable: 4 1 1
VarHandle: s s
Random: 8 8
Bucketize: [4
Gelu: 1
ReduceWindow: 4
StableHLOComposite: s 4 [1 1 4
"""

# A union: its tables in the order of their numbers, which begin at 1.
_UNIONS = """
BuiltinOptions: Conv2D DepthwiseConv2D ConcatEmbeddings LSHProjection Pool2D SVDF RNN
  FullyConnected Softmax Concatenation Add L2Norm LocalResponseNormalization LSTM ResizeBilinear
  Call Reshape SkipGram SpaceToDepth EmbeddingLookupSparse Mul - Gather - - - Reducer Sub Div
  Squeeze SequenceRNN StridedSlice - - Split - Cast - - ArgMax - - - - - - - - TransposeConv
  SparseToDense - - - - Shape - ArgMin FakeQuant Pack - OneHot - - Unpack - - - -
  BidirectionalSequenceLSTM BidirectionalSequenceRNN UnidirectionalSequenceLSTM - -
  ResizeNearestNeighbor LeakyRelu - MirrorPad - SplitV Unique - - - - - - ReverseSequence - - - -
  If While DepthToSpace - - - - - - BatchMatMul Cumsum CallOnce - - Conv3D Hashtable - - -
  VarHandle - - Random Bucketize Gelu - - - - - - - - - -
BuiltinOptions2: StablehloConcatenate StablehloBroadcastInDim StablehloSlice StablehloConvolution
  StablehloCustomCall StablehloReduce StablehloScatter StablehloCompare StablehloDynamicSlice
  StablehloPad StablehloIota StablehloDotGeneral StablehloReduceWindow StablehloSort
  StablehloWhile StablehloGather StablehloTranspose - StablehloRngBitGenerator ReduceWindow
  StableHLOComposite - StablehloCase
QuantizationDetails: CustomQuantization BlockwiseQuantization MultiAxisQuantization
SparseIndexVector: Int32Vector Uint16Vector Uint8Vector
Value: Byte Byte Short Short Int Int Int Byte Text Long Long Long
"""

_HEADER = """
LiteRTLMMetaData: SystemMetadata SectionMetadata
SystemMetadata: [KeyValuePair
KeyValuePair: s 1 ?Value
SectionMetadata: [SectionObject
SectionObject: [KeyValuePair 8 8 1
Byte: 1
Short: 2
Int: 4
Long: 8
Text: s
"""


def _layouts(text: str) -> dict[str, list[str]]:
    pairs = (line.split(": ") for line in text.replace("\n ", "").strip().splitlines())
    return {name: layout.split() for name, layout in pairs}


TABLES = {**_layouts(_LAYOUTS), **_layouts(_OPTIONS), "-": []}
HEADER = _layouts(_HEADER)
UNIONS = _layouts(_UNIONS)
