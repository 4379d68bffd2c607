"""The operations that a SavedModel of somebody else's may hold: arithmetic, and nothing more.

None of them reads or writes a file, opens a connection, calls Python or keeps a queue. What an
export of modelzoo uses is among them; `tests/runtime/trust` looks.
"""

from __future__ import annotations

__all__ = ["ALLOWED", "SAVER"]

# What saving and restoring variables uses: allowed in the saver's own two functions alone.
_SAVING = """
SaveV2 RestoreV2 MergeV2Checkpoints ShardedFilename StringJoin StaticRegexFullMatch
"""

_FLOW = """
Case For Identity IdentityN If NoOp PartitionedCall Placeholder PlaceholderWithDefault
PreventGradient StatefulPartitionedCall StatelessCase StatelessIf StatelessWhile StopGradient
ToBool While
"""
_VARIABLES = """
AssignAddVariableOp AssignSubVariableOp AssignVariableOp DisableCopyOnRead ReadVariableOp
ResourceGather ResourceGatherNd VarHandleOp VarIsInitializedOp VariableShape
"""
_MATHS = """
Abs AccumulateNV2 Acos Acosh Add AddN AddV2 All Angle Any ApproximateEqual ArgMax ArgMin Asin Asinh
Atan Atan2 Atanh BatchMatMul BatchMatMulV2 BatchMatMulV3 Betainc Bincount BitwiseAnd BitwiseOr
BitwiseXor Bucketize Cast Ceil ClipByValue Complex ComplexAbs Conj Cos Cosh Cross Cumprod Cumsum
CumulativeLogsumexp DenseBincount Digamma Div DivNoNan Equal Erf Erfc Erfinv EuclideanNorm Exp
Expm1 Floor FloorDiv FloorMod Greater GreaterEqual HistogramFixedWidth Igamma Igammac Imag Inv
Invert IsFinite IsInf IsNan LeftShift Less LessEqual Lgamma LinSpace Log Log1p LogicalAnd
LogicalNot LogicalOr MatMul Max Maximum Mean Min Minimum Mod Mul MulNoNan Ndtri Neg NextAfter
NotEqual Polygamma PopulationCount Pow Prod Range Real RealDiv Reciprocal RightShift Rint Round
Rsqrt SegmentMax SegmentMaxV2 SegmentMean SegmentMin SegmentMinV2 SegmentProd SegmentProdV2
SegmentSum SegmentSumV2 Select SelectV2 Sigmoid Sign Sin Sinh Sqrt Square SquaredDifference Sub Sum
Tan Tanh TruncateDiv TruncateMod UnsortedSegmentMax UnsortedSegmentMin UnsortedSegmentProd
UnsortedSegmentSum Xdivy Xlog1py Xlogy Zeta
"""
_ARRAYS = """
BatchToSpace BatchToSpaceND Bitcast BroadcastArgs BroadcastTo CheckNumerics CheckNumericsV2 Concat
ConcatOffset ConcatV2 ConjugateTranspose Const DepthToSpace Dequantize Diag DiagPart Empty
EnsureShape ExpandDims ExtractImagePatches ExtractVolumePatches FakeQuantWithMinMaxArgs
FakeQuantWithMinMaxVars FakeQuantWithMinMaxVarsPerChannel Fill Gather GatherNd GatherV2
InvertPermutation ListDiff LowerBound MatrixBandPart MatrixDiag MatrixDiagPart MatrixDiagPartV2
MatrixDiagPartV3 MatrixDiagV2 MatrixDiagV3 MatrixSetDiag MatrixSetDiagV2 MatrixSetDiagV3 MirrorPad
OneHot OnesLike Pack Pad PadV2 ParallelConcat QuantizeAndDequantizeV2 QuantizeAndDequantizeV3
QuantizeAndDequantizeV4 QuantizeV2 Rank Reshape Reverse ReverseSequence ReverseV2 ScatterNd Shape
ShapeN Size Slice Snapshot SpaceToBatch SpaceToBatchND SpaceToDepth Split SplitV Squeeze
StridedSlice TensorListConcatV2 TensorListElementShape TensorListFromTensor TensorListGather
TensorListGetItem TensorListLength TensorListPopBack TensorListPushBack TensorListReserve
TensorListResize TensorListScatterIntoExistingList TensorListScatterV2 TensorListSetItem
TensorListSplit TensorListStack EmptyTensorList TensorScatterAdd TensorScatterMax TensorScatterMin
TensorScatterSub TensorScatterUpdate TensorStridedSliceUpdate Tile Transpose Unique UniqueV2
UniqueWithCounts UnravelIndex Unpack UpperBound Where XlaDynamicSlice XlaDynamicUpdateSlice
ZerosLike
"""
_NETWORKS = """
ApproxTopK AvgPool AvgPool3D BiasAdd BiasAddV1 Conv Conv2D Conv2DBackpropInput
Conv2DBackpropInputV2 Conv3D Conv3DBackpropInputV2 CropAndResize DataFormatDimMap
DataFormatVecPermute DepthwiseConv2dNative Dilation2D Elu FusedBatchNorm FusedBatchNormV2
FusedBatchNormV3 InTopK InTopKV2 L2Loss LRN LeakyRelu LogSoftmax MaxPool MaxPool3D MaxPoolV2
MaxPoolWithArgmax NthElement Relu Relu6 ResizeArea ResizeBicubic ResizeBilinear
ResizeNearestNeighbor ScaleAndTranslate Selu Softmax SoftmaxCrossEntropyWithLogits Softplus
Softsign SparseSoftmaxCrossEntropyWithLogits TopK TopKV2
"""
_LINEAR_ALGEBRA = """
Cholesky Einsum FFT FFT2D FFT3D IFFT IFFT2D IFFT3D IRFFT IRFFT2D IRFFT3D LogMatrixDeterminant Lu
MatrixDeterminant MatrixExponential MatrixInverse MatrixSolve MatrixSolveLs MatrixSquareRoot
MatrixTriangularSolve Qr RFFT RFFT2D RFFT3D SelfAdjointEigV2 Svd TridiagonalMatMul TridiagonalSolve
"""
_SEEDED = """
StatelessMultinomial StatelessRandomGetAlg StatelessRandomGetKeyCounter
StatelessRandomGetKeyCounterAlg StatelessRandomNormal StatelessRandomNormalV2
StatelessRandomUniform StatelessRandomUniformFullInt StatelessRandomUniformFullIntV2
StatelessRandomUniformInt StatelessRandomUniformIntV2 StatelessRandomUniformV2
StatelessTruncatedNormal StatelessTruncatedNormalV2
"""

SAVER = frozenset(_SAVING.split())
ALLOWED = frozenset(
    "".join((_FLOW, _VARIABLES, _MATHS, _ARRAYS, _NETWORKS, _LINEAR_ALGEBRA, _SEEDED)).split()
)
