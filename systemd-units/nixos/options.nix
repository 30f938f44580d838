# The options: environment.persistence as nix-community/impermanence has it, so that a configuration written for that can be used as it
# is, with what impermanence.toml(5) adds; and services.impermanence for what is fresh and for how long it is kept.
{ config, lib, pkgs, ... }:

let
  inherit (lib) mkOption types;
  inherit (types) attrsOf bool coercedTo enum int listOf nullOr path str submodule;

  # A key that is left out means what impermanence.toml(5) says; so null is not written.
  optional = type: description: mkOption {
    type = nullOr type;
    default = null;
    inherit description;
  };

  ownership = {
    user = optional str "Owner, by name or number. What is given is kept so at every boot.";
    group = optional str "Group, by name or number.";
    mode = optional str "Mode, octal or symbolic.";
  };

  # Accepted for configurations that have it; nothing here needs it.
  unused = type: default: mkOption {
    inherit type default;
    visible = false;
    description = "Accepted, and not used.";
  };

  entry = ownership // {
    persistentStoragePath = optional path "Where this one is kept, when elsewhere than its volume's.";
    method = optional (enum [ "auto" "bind" "symlink" "copy" ]) "How it is put in its place.";
    hideMount = optional bool "Hide the mount from file managers.";
    allowTrash = optional bool "Let file managers use a trash on the mount.";
    mountOptions = optional (listOf str) "Options of the mount, such as nosuid.";
    enableDebugging = unused bool false;
  };

  directory = submodule {
    options = entry // {
      directory = mkOption {
        type = str;
        description = "The directory.";
      };
    };
  };

  file = submodule {
    options = entry // {
      file = mkOption {
        type = str;
        description = "The file.";
      };
      parentDirectory = mkOption {
        type = submodule { options = ownership; };
        default = { };
        description = "Owner and mode of the directory that the file lies in, when it has to be made.";
      };
    };
  };

  lists = {
    directories = mkOption {
      type = listOf (coercedTo str (directory: { inherit directory; }) directory);
      default = [ ];
      example = [ "/var/log" { directory = "/srv/www"; user = "www"; mode = "0750"; } ];
      description = "Directories to keep.";
    };
    files = mkOption {
      type = listOf (coercedTo str (file: { inherit file; }) file);
      default = [ ];
      example = [ "/etc/machine-id" ];
      description = "Files to keep.";
    };
  };

  user = submodule {
    options = lists // {
      home = optional path "The user's home, when it is not what the passwd file says.";
    };
  };

  volume = submodule {
    options = lists // {
      enable = mkOption {
        type = bool;
        default = true;
        description = "Whether to use this volume.";
      };
      persistentStoragePath = optional path "Where things are kept, when it is not the name of the volume.";
      hideMounts = mkOption {
        type = bool;
        default = false;
        description = "Hide the mounts from file managers.";
      };
      allowTrash = mkOption {
        type = bool;
        default = false;
        description = "Let file managers use a trash on the mounts.";
      };
      presets = mkOption {
        type = listOf str;
        default = [ ];
        example = [ "machine-id" "nixos" "ssh-host-keys" ];
        description = "Lists of entries by name, from the package's presets.";
      };
      users = mkOption {
        type = attrsOf user;
        default = { };
        description = "What is kept of users' homes, by user; paths are relative to the home.";
      };
      enableDebugging = unused bool false;
      enableWarnings = unused bool true;
    };
  };

  rules = {
    keepWithin = optional str "Keep what is younger than this, counted from the newest: 36h, 30d, 6w, 1y2m.";
    keepLabels = optional (listOf str) "Keep what has one of these labels.";
    minFree = optional str "With less free space than this, prune on: 10% or 5GiB.";
  } // lib.genAttrs [ "keepLast" "keepHourly" "keepDaily" "keepWeekly" "keepMonthly" "keepYearly" ]
    (name: optional int (if name == "keepLast" then "Keep this many of the newest." else "Keep the newest of each of this many periods that have one."));
in
{
  options = {
    environment.persistence = mkOption {
      type = attrsOf volume;
      default = { };
      description = "What is kept, by the place where its persistent volume is mounted.";
    };

    services.impermanence = {
      enable = mkOption {
        type = bool;
        default = config.environment.persistence != { } || config.services.impermanence.ephemeral != { };
        defaultText = "whether something is ephemeral or kept";
        description = "Whether to use impermanence.";
      };
      package = mkOption {
        type = types.package;
        default = pkgs.callPackage ./package.nix { };
        defaultText = "the package of the same source tree";
        description = "The package.";
      };
      ephemeral = mkOption {
        default = { };
        example = { "/" = { subvolume = "root"; }; };
        description = "What is fresh at every boot, by mount point.";
        type = attrsOf (submodule ({ name, ... }: {
          options = {
            device = mkOption {
              type = str;
              default = config.fileSystems.${name}.device;
              defaultText = "fileSystems.<name>.device";
              description = "The device of the file system.";
            };
            subvolume = mkOption {
              type = str;
              default =
                let named = builtins.filter (lib.hasPrefix "subvol=") config.fileSystems.${name}.options;
                in if named == [ ] then "root" else lib.removePrefix "/" (lib.removePrefix "subvol=" (builtins.head named));
              defaultText = "what subvol= of fileSystems.<name>.options says, else root";
              description = "The root's subvolume; it is replaced at every boot.";
            };
            oldRoots = mkOption {
              type = str;
              default = "old_roots";
              description = "Where former roots are kept.";
            };
            template = optional str "A read-only subvolume that fresh roots are made from; without one they are empty, which NixOS fills.";
            onFailure = mkOption {
              type = enum [ "continue" "emergency" ];
              default = "continue";
              description = "Whether a boot goes on with the former root when a rollover fails, or stops.";
            };
          };
        }));
      };
      retention = mkOption {
        type = submodule { options = rules; };
        default = { };
        example = { keepWithin = "30d"; keepLast = 3; };
        description = "Which old roots and snapshots are kept; without a rule all are.";
      };
    };
  };
}
