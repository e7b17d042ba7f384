#pragma once
#include <stdexcept>
#include <string>

namespace scangrad {

/// Every failure that scangrad reports is an `Error`. Messages are one sentence that names the
/// operation, the shapes, dtypes or devices involved and, where there is one, the remedy:
/// `matmul: lhs [8,3] and rhs [4,5] do not match: 3 != 4`.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// Shapes that do not fit together.
class ShapeError : public Error {
 public:
  using Error::Error;
};
/// A dtype that the operation does not take.
class DTypeError : public Error {
 public:
  using Error::Error;
};
/// A device that is absent, or tensors on two devices.
class DeviceError : public Error {
 public:
  using Error::Error;
};
/// An index (embedding row, class label, dimension) outside its range.
class IndexError : public Error {
 public:
  using Error::Error;
};
/// An argument outside its domain: a negative size, an unknown name.
class ValueError : public Error {
 public:
  using Error::Error;
};
/// Misuse of the gradient graph: in-place edits of saved tensors, a graph used twice.
class GradError : public Error {
 public:
  using Error::Error;
};
/// Memory that could not be had; says how much was asked for.
class MemoryError : public Error {
 public:
  using Error::Error;
};
/// A file that is missing, unreadable, malformed or cannot be written.
class IoError : public Error {
 public:
  using Error::Error;
};
/// An operation that the device's kernel table leaves empty.
class UnsupportedError : public Error {
 public:
  using Error::Error;
};

}  // namespace scangrad
